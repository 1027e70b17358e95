/**
 * Asks a job's lease about paths as an agent gives them, and hands back the place that was judged, held (§9.2, §9.3).
 *
 * A refusal tells about the path that was asked for and never about where it leads, and it is the same whether or not something is there:
 * neither a link nor a refusal is a way to look around outside the lease.
 */
import { Effect, Option, type PlatformError, Result, type Scope } from "effect"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as Operation from "../../authority/Operation.ts"
import * as Denial from "./denial.ts"
import * as Place from "./place.ts"

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
  /** Where what is asked for really is, all links followed. Fails unless the lease covers it. */
  readonly follow: (request: Request) => Effect.Effect<Place.Place, PlatformError.PlatformError, Scope.Scope>
  /** As `follow`, but a link at the end is itself what is asked for. */
  readonly entry: (request: Request) => Effect.Effect<Place.Place, PlatformError.PlatformError, Scope.Scope>
  /** Fails unless the lease covers `real`, which is needed for what is asked for; `reason` is for the case that it lies elsewhere. */
  readonly check: (request: Request, real: string, reason?: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** Fails whatever the lease says. */
  readonly refuse: (request: Request, reason: string) => Effect.Effect<never, PlatformError.PlatformError>
  /** Fails if the lease has expired. */
  readonly alive: (request: Request) => Effect.Effect<void, PlatformError.PlatformError>
}

/** @see LeasedFileSystem.Options */
export interface Options {
  readonly root?: string | undefined
  readonly unanchoredWrites?: boolean | undefined
}

const elsewhere = "it leads to no place that the lease covers"

const unheld = "this host cannot hold files while they are used, so to write takes a pattern without '*'"

const insides = "what lies in there are the insides of a process: its memory, its environment, its open files"

const refuse: FileAccess["refuse"] = ({ method, path, rights }, reason) => {
  const [right = Operation.fsRead] = rights
  return Effect.fail(Denial.make("FileSystem", method, path, Denial.because(right(path), reason)))
}

/** Where Linux shows what no lease on files is meant to cover: secrets of the host itself are in there. */
const isProcess = (real: string): boolean => /^\/proc\/\d+(?:\/|$)/.test(real)

export const make = (
  host: Place.Host,
  guard: LeaseGuard.LeaseGuard["Service"],
  { root, unanchoredWrites = false }: Options
): FileAccess => {
  const base = root === undefined ? undefined : CanonicalPath.parse(root)

  const canonical = (path: string): Result.Result<CanonicalPath.CanonicalPath, string> => {
    // What only looks like a text could read differently each time.
    if (typeof path !== "string") return Result.fail("a path is a text")
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
          Effect.mapError((cause) => Denial.make("FileSystem", request.method, request.path, cause)),
          Effect.andThen(refuse(request, reason))
        )
    })

  const isNamed = (real: string): boolean =>
    !real.includes("*") &&
    (guard.lease.granted.get("fs.write")?.patterns ?? []).some(({ canonical }) => canonical === real)

  const mayWrite = host.isAnchored || unanchoredWrites

  const check: FileAccess["check"] = (request, real, reason = elsewhere) =>
    Effect.matchEffect(authorize(request.rights, real), {
      onFailure: () => explain(request, reason),
      onSuccess: () => {
        if (isProcess(real)) return explain(request, insides)
        const writes = request.rights.includes(Operation.fsWrite)
        return writes && !mayWrite && !isNamed(real) ? explain(request, unheld) : Effect.void
      }
    })

  const resolve = (follow: boolean) =>
    Effect.fnUntraced(function* (request: Request) {
      const asked = canonical(request.path)
      if (Result.isFailure(asked)) return yield* refuse(request, asked.failure)
      const place = yield* Place.find(host, asked.success, follow)
      if (Option.isNone(place)) return yield* explain(request, elsewhere)
      yield* check(request, Place.format(place.value))
      return place.value
    })

  return {
    follow: resolve(true),
    entry: resolve(false),
    check,
    refuse,
    alive: ({ method, path }) =>
      guard.authorize(Operation.fsRead("/")).pipe(
        Effect.catchTag("PermissionDenied", () => Effect.void),
        Effect.mapError((cause) => Denial.make("FileSystem", method, path, cause))
      )
  }
}

/** Covers nothing, for this reason. */
export const refusing = (reason: string): FileAccess => {
  const always = (request: Request) => refuse(request, reason)
  return { follow: always, entry: always, check: always, refuse: always, alive: always }
}
