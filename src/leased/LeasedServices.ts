/**
 * What an agent gets of the ordinary Effect services: the one seam between the runtime and this folder.
 *
 * @since 0.1.0
 */
import { Context, Effect, FileSystem } from "effect"
import { HttpClient } from "effect/http"
import * as LeasedFileSystem from "./LeasedFileSystem.ts"
import * as LeasedHttpClient from "./LeasedHttpClient.ts"
import type * as LeasedJob from "./LeasedJob.ts"

/**
 * The services that an agent may use, each behind the lease of its job.
 *
 * @category models
 * @since 0.1.0
 */
export type LeasedServices = Context.Service.Identifier<(typeof keys)[number]>

/**
 * Their keys: the one list of what is leased. What an agent reaches under one of these is its job's, whatever the surroundings offer.
 *
 * @category constants
 * @since 0.1.0
 */
export const keys = [FileSystem.FileSystem, HttpClient.HttpClient] as const

/**
 * Makes the services of a job. What the host offers is read where this is evaluated: where the runtime is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const forJob: Effect.Effect<(job: LeasedJob.LeasedJob) => Context.Context<LeasedServices>> = Effect.gen(
  function* () {
    const fileSystem = yield* LeasedFileSystem.LeasedFileSystem
    const http = yield* LeasedHttpClient.LeasedHttpClient
    return (job) =>
      Context.mergeAll(
        Context.make(FileSystem.FileSystem, fileSystem(job)),
        Context.make(HttpClient.HttpClient, http(job))
      )
  }
)

/**
 * The services where there is no job, such as while an agent's layer is built: all of them refuse.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: Context.Context<LeasedServices> = Context.mergeAll(
  Context.make(FileSystem.FileSystem, LeasedFileSystem.refusing),
  Context.make(HttpClient.HttpClient, LeasedHttpClient.refusing)
)
