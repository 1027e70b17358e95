// Founder's interim file so that the runtime type-checks; the leased helper replaces it with the real seam (same exported names).
import { Context, Effect, FileSystem } from "effect"
import type * as LeaseGuard from "../authority/LeaseGuard.ts"

export type LeasedServices = FileSystem.FileSystem

export const forJob: Effect.Effect<(guard: LeaseGuard.LeaseGuard["Service"]) => Context.Context<LeasedServices>> =
  Effect.succeed(() => Context.make(FileSystem.FileSystem, FileSystem.makeNoop({})))
