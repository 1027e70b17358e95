/**
 * Asks a job's lease about paths as an agent gives them, and hands back the real path that was judged (§9.2, §9.3).
 *
 * A refusal tells about the path that was asked for and never about where it leads, and it is the same whether or not something is there:
 * neither a link nor a refusal is a way to look around outside the lease.
 */
import { Effect, type FileSystem, Option, type PlatformError, Result } from "effect"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as Operation from "../../authority/Operation.ts"
import * as FileDenial from "./fileDenial.ts"
import * as RealPath from "./realPath.ts"

/** What is to be done to a path: the operations that the lease has to cover. */
export type Rights = ReadonlyArray<(path: string) => Operation.Operation>

export const read: Rights = [Operation.fsRead]

export const write: Rights = [Operation.fsWrite]

export const readWrite: Rights = [Operation.fsRead, Operation.fsWrite]

/** One path that a method was called with. */
export interface Request {
  readonly method: string
  /** As the agent gave it. */
  readonly path: string
  readonly rights: Rights
}

export interface FileAccess {
  /** The real path of what is asked for, all links followed. Fails unless the lease covers it. */
  readonly follow: (request: Request) => Effect.Effect<RealPath.RealPath, PlatformError.PlatformError>
  /** As `follow`, but a link at the end is itself what is asked for. */
  readonly entry: (request: Request) => Effect.Effect<RealPath.RealPath, PlatformError.PlatformError>
  /** Fails unless the lease covers `real`, which is needed for what is asked for; `reason` is for the case that it lies elsewhere. */
  readonly check: (request: Request, real: string, reason?: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** Fails whatever the lease says. */
  readonly refuse: (request: Request, reason: string) => Effect.Effect<never, PlatformError.PlatformError>
  /** Fails if the lease has expired. */
  readonly alive: (request: Request) => Effect.Effect<void, PlatformError.PlatformError>
}

const elsewhere = "it leads to no place that the lease covers"

const refuse: FileAccess["refuse"] = ({ method, path, rights }, reason) => {
  const [right = Operation.fsRead] = rights
  return Effect.fail(FileDenial.make(method, path, FileDenial.because(right(path), reason)))
}

/** Relative paths start at `root`, and are refused without one. */
export const make = (
  fileSystem: FileSystem.FileSystem,
  guard: LeaseGuard.LeaseGuard["Service"],
  root: string | undefined
): FileAccess => {
  const base = root === undefined ? undefined : CanonicalPath.parse(root)

  const canonical = (path: string): Result.Result<CanonicalPath.CanonicalPath, string> => {
    if (path === "") return Result.fail("a path is not empty")
    if (base === undefined || path.startsWith("/")) return CanonicalPath.parse(path)
    return base.pipe(
      Result.mapError((reason) => `the host's root for relative paths is unusable: ${reason}`),
      Result.flatMap((start) => CanonicalPath.resolve(start, path))
    )
  }

  const authorize = (rights: Rights, path: string) =>
    Effect.forEach(rights, (right) => guard.authorize(right(path)), { discard: true })

  // The lease is asked again, about the path that was asked for: its answer to that is all that the agent learns.
  const explain = (request: Request, reason: string): Effect.Effect<never, PlatformError.PlatformError> =>
    Result.match(canonical(request.path), {
      onFailure: (malformed) => refuse(request, malformed),
      onSuccess: (asked) =>
        authorize(request.rights, CanonicalPath.format(asked)).pipe(
          Effect.mapError((cause) => FileDenial.make(request.method, request.path, cause)),
          Effect.andThen(refuse(request, reason))
        )
    })

  const check: FileAccess["check"] = (request, real, reason = elsewhere) =>
    Effect.catch(authorize(request.rights, real), () => explain(request, reason))

  const resolve = (find: typeof RealPath.follow) =>
    Effect.fnUntraced(function* (request: Request) {
      const asked = canonical(request.path)
      if (Result.isFailure(asked)) return yield* refuse(request, asked.failure)
      const real = yield* find(fileSystem, asked.success)
      if (Option.isNone(real)) return yield* explain(request, elsewhere)
      yield* check(request, RealPath.format(real.value))
      return real.value
    })

  return {
    follow: resolve(RealPath.follow),
    entry: resolve(RealPath.entry),
    check,
    refuse,
    alive: ({ method, path }) =>
      guard.authorize(Operation.fsRead("/")).pipe(
        Effect.catchTag("PermissionDenied", () => Effect.void),
        Effect.mapError((cause) => FileDenial.make(method, path, cause))
      )
  }
}

/** Covers nothing, for this reason. */
export const refusing = (reason: string): FileAccess => {
  const always = (request: Request) => refuse(request, reason)
  return { follow: always, entry: always, check: always, refuse: always, alive: always }
}
