/**
 * What an agent gets of the ordinary Effect services: the one seam between the runtime and this folder.
 *
 * @since 0.1.0
 */
import { Context, Effect, FileSystem } from "effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import { HttpClient } from "effect/http"
import { ChildProcessSpawner } from "effect/process"
import * as LeasedChildProcess from "./LeasedChildProcess.ts"
import * as LeasedEmbeddingModel from "./LeasedEmbeddingModel.ts"
import * as LeasedFileSystem from "./LeasedFileSystem.ts"
import * as LeasedHttpClient from "./LeasedHttpClient.ts"
import type * as LeasedJob from "./LeasedJob.ts"
import * as LeasedLanguageModel from "./LeasedLanguageModel.ts"
import * as LeasedToolkit from "./LeasedToolkit.ts"

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
export const keys = [
  FileSystem.FileSystem,
  ChildProcessSpawner.ChildProcessSpawner,
  HttpClient.HttpClient,
  LanguageModel.LanguageModel,
  EmbeddingModel.EmbeddingModel,
  LeasedToolkit.LeasedToolkit
] as const

/**
 * Makes the services of a job. What the host offers is read where this is evaluated: where the runtime is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const forJob: Effect.Effect<(job: LeasedJob.LeasedJob) => Context.Context<LeasedServices>> = Effect.gen(
  function* () {
    const fileSystem = yield* LeasedFileSystem.LeasedFileSystem
    const childProcess = yield* LeasedChildProcess.LeasedChildProcess
    const http = yield* LeasedHttpClient.LeasedHttpClient
    const languageModel = yield* LeasedLanguageModel.LeasedLanguageModel
    const embeddingModel = yield* LeasedEmbeddingModel.LeasedEmbeddingModel
    return (job) =>
      Context.make(FileSystem.FileSystem, fileSystem(job)).pipe(
        Context.add(ChildProcessSpawner.ChildProcessSpawner, childProcess(job)),
        Context.add(HttpClient.HttpClient, http(job)),
        Context.add(LanguageModel.LanguageModel, languageModel(job)),
        Context.add(EmbeddingModel.EmbeddingModel, embeddingModel(job)),
        Context.add(LeasedToolkit.LeasedToolkit, LeasedToolkit.forJob(job))
      )
  }
)

/**
 * The services where there is no job, such as while an agent's layer is built: all of them refuse.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: Context.Context<LeasedServices> = Context.make(
  FileSystem.FileSystem,
  LeasedFileSystem.refusing
).pipe(
  Context.add(ChildProcessSpawner.ChildProcessSpawner, LeasedChildProcess.refusing),
  Context.add(HttpClient.HttpClient, LeasedHttpClient.refusing),
  Context.add(LanguageModel.LanguageModel, LeasedLanguageModel.refusing),
  Context.add(EmbeddingModel.EmbeddingModel, LeasedEmbeddingModel.refusing),
  Context.add(LeasedToolkit.LeasedToolkit, LeasedToolkit.refusing)
)
