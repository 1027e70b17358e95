/**
 * One use of a path by a method of `FileSystem`: what it leads to is held and judged, the operation is done on what is held, and then it is
 * let go.
 */
import { Effect, Exit, type FileSystem, Option, type PlatformError, Scope, type Semaphore } from "effect"
import type * as FileAccess from "./fileAccess.ts"
import * as HostError from "./hostError.ts"
import * as Place from "./place.ts"

type Failure = PlatformError.PlatformError

/** Bits of a mode by which a program runs with the rights of its owner. */
export const setId = 0o6000

/** A link is met only where links are not followed, and there it is reported. */
const openable: ReadonlySet<FileSystem.File.Type> = new Set(["File", "Directory", "SymbolicLink"])

/** As which flag to open what is not there, so that it is made and nothing is followed; nothing for flags that make no file. */
const creating = (flag: FileSystem.OpenFlag): FileSystem.OpenFlag | undefined => {
  switch (flag) {
    case "r":
    case "r+":
      return undefined
    case "w":
    case "wx":
      return "wx"
    case "w+":
    case "wx+":
      return "wx+"
    case "a":
    case "ax":
      return "ax"
    case "a+":
    case "ax+":
      return "ax+"
  }
}

/** How often what another process makes at the same moment is looked at anew. */
const attempts = 8

/** What all methods of one file system share. */
export interface Shares {
  /** Operations that hold something at the same time. */
  readonly turns: Semaphore.Semaphore
  /** Files that are open, or watched. */
  readonly handles: Semaphore.Semaphore
  /** Ends with the job. */
  readonly scope: Scope.Scope | undefined
}

export interface FileUse {
  readonly host: Place.Host
  readonly access: FileAccess.FileAccess
  readonly request: (method: string, path: string, rights: FileAccess.Rights) => FileAccess.Request
  /** One operation: what it holds is let go when it is done. */
  readonly act: <A>(asked: HostError.Asked, body: Effect.Effect<A, Failure, Scope.Scope>) => Effect.Effect<A, Failure>
  /** An operation on what a path leads to. */
  readonly on: <A>(
    asked: FileAccess.Request,
    use: (held: string, place: Place.Place) => Effect.Effect<A, Failure, Scope.Scope>
  ) => Effect.Effect<A, Failure>
  /**
   * An operation that opens the file, and may make it. `use` gets the file that is there, or the name of one that is not with a flag that
   * follows nothing.
   */
  readonly onFile: <A>(
    asked: FileAccess.Request,
    flag: FileSystem.OpenFlag,
    use: (path: string, flag: FileSystem.OpenFlag, place: Place.Place) => Effect.Effect<A, Failure, Scope.Scope>,
    find?: FileAccess.FileAccess["follow"]
  ) => Effect.Effect<A, Failure>
  /** A place among what may be open at the same time. */
  readonly handle: (asked: FileAccess.Request) => Effect.Effect<void, Failure, Scope.Scope>
  /** What is open until its scope ends, or the job. */
  readonly owned: <A>(open: (scope: Scope.Scope) => Effect.Effect<A, Failure>) => Effect.Effect<A, Failure, Scope.Scope>
}

/** What is not there, in the host's words. */
export const absent = (asked: HostError.Asked, { anchor }: Place.Place): Effect.Effect<never, Failure> =>
  Effect.fail(
    anchor.type === "Directory"
      ? HostError.make("NotFound", asked, "no such file or directory")
      : HostError.make("BadResource", asked, "not a directory")
  )

export const present = (
  asked: FileAccess.Request,
  find: FileAccess.FileAccess["follow"]
): Effect.Effect<Place.Place, Failure, Scope.Scope> =>
  Effect.tap(find(asked), (place) => (Place.exists(place) ? Effect.void : absent(asked, place)))

export const entryOf = (asked: HostError.Asked, place: Place.Place): Effect.Effect<Place.Entry, Failure> =>
  Option.match(Place.entry(place), {
    onSome: Effect.succeed,
    onNone: () =>
      Place.exists(place)
        ? Effect.fail(HostError.make("Busy", asked, "the root directory stays where it is"))
        : absent(asked, place)
  })

/** Another process may make at the same moment what was about to be made here. */
export const anew = <A, R>(effect: Effect.Effect<A, Failure, R>): Effect.Effect<A, Failure, R> =>
  Effect.retry(effect, { times: attempts, while: ({ reason }) => reason._tag === "AlreadyExists" })

/** A pipe or a device is refused: to open one can wait for ever in a thread that the whole host needs, and to read one need never end. */
export const checkOpenable = (
  { access }: FileUse,
  asked: FileAccess.Request,
  { anchor }: Place.Place
): Effect.Effect<void, Failure> =>
  openable.has(anchor.type)
    ? Effect.void
    : access.refuse(asked, "pipes, devices and other special files are not opened under a lease")

export const checkMode = (
  { access }: FileUse,
  asked: FileAccess.Request,
  mode: number | undefined
): Effect.Effect<void, Failure> =>
  // Node reads a text as octal.
  mode !== undefined && (typeof mode !== "number" || (mode & setId) !== 0)
    ? access.refuse(asked, "nothing is made to run with the rights of its owner under a lease")
    : Effect.void

export const checkCreated = (
  { access }: FileUse,
  asked: FileAccess.Request,
  place: Place.Place
): Effect.Effect<void, Failure> =>
  Effect.forEach(
    Place.created(place),
    (path) => access.check(asked, path, "the lease does not cover each directory that would be made"),
    { discard: true }
  )

/** `as` is the name of the derived method that these work for. */
export const make = (
  host: Place.Host,
  access: FileAccess.FileAccess,
  { handles, scope, turns }: Shares,
  as?: string
): FileUse => {
  const act: FileUse["act"] = (asked, body) =>
    Effect.scoped(body).pipe(turns.withPermits(1), Effect.mapError(HostError.translate("FileSystem", asked)))

  const self: FileUse = {
    host,
    access,
    request: (method, path, rights) => ({ method: as ?? method, path, rights }),
    act,
    on: (asked, use) =>
      act(
        asked,
        Effect.flatMap(present(asked, access.follow), (place) => use(place.anchor.path, place))
      ),
    onFile: (asked, flag, use, find = access.follow) => {
      const once = Effect.gen(function* () {
        const place = yield* find(asked)
        if (Place.exists(place)) {
          yield* checkOpenable(self, asked, place)
          return place.anchor.type === "SymbolicLink"
            ? yield* Effect.fail(HostError.make("BadResource", asked, "a link is not followed here"))
            : yield* use(place.anchor.path, flag, place)
        }
        const fresh = creating(flag)
        if (fresh === undefined) return yield* absent(asked, place)
        return yield* use((yield* entryOf(asked, place)).path, fresh, place)
      })
      return act(asked, flag.includes("x") ? once : anew(once))
    },
    handle: (asked) =>
      Effect.acquireRelease(
        Effect.flatMap(handles.takeIfAvailable(1), (isThere) =>
          isThere ? Effect.void : access.refuse(asked, "too many files are open")
        ),
        () => handles.release(1)
      ),
    owned: (open) =>
      Effect.uninterruptibleMask(
        Effect.fnUntraced(function* (restore) {
          const outer = yield* Effect.scope
          const own = yield* Scope.fork(scope ?? outer)
          yield* Scope.addFinalizerExit(outer, (exit) => Scope.close(own, exit))
          return yield* restore(open(own)).pipe(Effect.onError((cause) => Scope.close(own, Exit.failCause(cause))))
        })
      )
  }
  return self
}
