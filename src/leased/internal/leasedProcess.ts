/**
 * One process under a lease, from the call of its command to the end of its scope.
 *
 * It has a fiber of its own in the scope of the job. That fiber owns the process: whoever asked for it and closes a scope asks the fiber to
 * end it, and waits until it has, and has told so.
 */
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Latch,
  Option,
  type PlatformError,
  Result,
  Scope,
  Sink,
  Stream
} from "effect"
import { ChildProcess, ChildProcessSpawner, CommandLine } from "effect/process"
import * as CanonicalPath from "../../authority/CanonicalPath.ts"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as Operation from "../../authority/Operation.ts"
import type * as ArcpError from "../../protocol/ArcpError.ts"
import type * as Json from "../../protocol/Json.ts"
import type * as LeasedJob from "../LeasedJob.ts"
import * as LeasedTool from "../LeasedTool.ts"
import * as CommandRequest from "./commandRequest.ts"
import * as Denial from "./denial.ts"
import * as FileAccess from "./fileAccess.ts"
import * as FileTree from "./fileTree.ts"
import * as FileUse from "./fileUse.ts"
import * as HostError from "./hostError.ts"
import * as Place from "./place.ts"

type Failure = PlatformError.PlatformError

type Handle = ChildProcessSpawner.ChildProcessHandle

type Bytes = Stream.Stream<Uint8Array, Failure>

/** What the processes of a job have in common. */
export interface Setting {
  readonly job: LeasedJob.LeasedJob
  readonly spawner: ChildProcessSpawner.ChildProcessSpawner["Service"]
  readonly files: Place.Host
  readonly access: FileAccess.FileAccess
  /** The clock of the host: an agent can bring one of its own. */
  readonly clock: Clock.Clock
  readonly declarations: ReadonlyMap<string, CommandRequest.Declaration>
  readonly grace: Duration.Duration
  readonly maxOutput: number
  /** Takes a place for a process, or says that there is none. */
  readonly enter: () => boolean
  readonly leave: () => void
}

/** How often an expiry is looked for although it should not be there yet: wall clocks jump. */
const longestSleep = Duration.toMillis("10 seconds")

/** Fails once the lease is over. */
const expiry = ({ clock, job: { guard } }: Setting, operation: Operation.Operation) =>
  Option.match(guard.lease.expiresAt, {
    onNone: () => Effect.never,
    onSome: (expiresAt) =>
      Effect.gen(function* () {
        for (;;) {
          yield* Effect.catchIf(
            guard.authorize(operation),
            (error) => error._tag !== "LeaseExpired",
            () => Effect.void
          )
          const left = expiresAt - (yield* Clock.currentTimeMillis)
          yield* Effect.sleep(Duration.millis(Math.min(Math.max(left, 1), longestSleep)))
        }
      }).pipe(Effect.provideService(Clock.Clock, clock))
  })

/** What becomes of a process. */
interface Ending {
  /** `null` if a signal ended it. */
  readonly exitCode: number | null
  readonly read: { readonly stdout: number; readonly stderr: number }
}

const show = ({ exitCode, read }: Ending): Json.Json => ({
  exit_code: exitCode,
  stdout_bytes: read.stdout,
  stderr_bytes: read.stderr
})

const denied = (name: string, reason: string) => Denial.because(Operation.toolCall(name), reason)

/** The directory that a command is to run in, held. */
const directoryOf = Effect.fnUntraced(function* (
  { access, files }: Setting,
  name: string,
  { cwd, declaration }: CommandRequest.Request
) {
  const own = CanonicalPath.parse(declaration.cwd ?? "/")
  const found = Result.isSuccess(own) ? yield* Place.find(files, own.success, true) : Option.none()
  if (Option.isNone(found) || !Place.exists(found.value) || found.value.anchor.type !== "Directory") {
    return yield* Effect.fail(denied(name, "the host's declaration is unusable: its directory is not there"))
  }
  if (cwd === undefined) return found.value.anchor.path
  const asked: FileAccess.Request = { method: "spawn", path: cwd, rights: FileAccess.read }
  const place = yield* FileUse.present(asked, access.follow).pipe(
    Effect.mapError((error) => (Denial.isDenial(error.cause) ? error.cause : error))
  )
  if (place.anchor.type !== "Directory") {
    return yield* Effect.fail(HostError.make("BadResource", asked, "not a directory"))
  }
  if (!FileTree.contains(Place.format(found.value), Place.format(place))) {
    return yield* Effect.fail(denied(name, "options.cwd is outside the directory of the command"))
  }
  return place.anchor.path
})

/** Runs it where it is to run, and owns it in `scope`. */
const spawn = (setting: Setting, name: string, request: CommandRequest.Request, scope: Scope.Scope) =>
  Effect.scoped(
    Effect.flatMap(directoryOf(setting, name, request), (cwd) => {
      const { args, declaration, env, grace, killSignal, stderr, stdin, stdout } = request
      const command = ChildProcess.make(declaration.executable, args, {
        cwd,
        env,
        extendEnv: false,
        stdin,
        // What an agent wants its output to go through is done here, behind the lease.
        stdout: stdout === "ignore" ? stdout : "pipe",
        stderr: stderr === "ignore" ? stderr : "pipe",
        killSignal,
        forceKillAfter: grace
      })
      // The directory is let go when the process is in it.
      return Effect.uninterruptible(Scope.provide(setting.spawner.spawn(command), scope))
    })
  )

/** Why a process was ended before its time. */
type Ended = ArcpError.LeaseExpired | ArcpError.PermissionDenied

/** A process that runs, as its agent sees it and as its owner does. */
const supervise = (setting: Setting, asked: CommandRequest.Asked, request: CommandRequest.Request, raw: Handle) => {
  const { guard } = setting.job
  const operation = Operation.toolCall(asked.name)
  const subject = CommandLine.display([asked.name, ...asked.args])
  const ended = Deferred.makeUnsafe<void>()
  let reason: Ended | undefined
  const read = { stdout: 0, stderr: 0 }
  const idle = Latch.makeUnsafe(true)
  let readers = 0
  let isOver = false

  const end = (cause: Ended) =>
    Effect.suspend(() => {
      reason ??= cause
      return Deferred.succeed(ended, undefined)
    })

  /** What fails because the process was ended fails for the reason of that. */
  const translate = (method: string) => (error: Failure) =>
    reason === undefined
      ? HostError.translate("ChildProcess", { method, path: subject })(error)
      : Denial.make("ChildProcess", method, subject, reason)

  /** Fails if it has been ended, and ends it if the lease is over. */
  const alive = (method: string): Effect.Effect<void, Failure> =>
    guard.authorize(operation).pipe(
      Effect.catchIf(
        (error) => error._tag === "LeaseExpired",
        end,
        () => Effect.void
      ),
      Effect.andThen(
        Effect.suspend(() =>
          reason === undefined ? Effect.void : Effect.fail(Denial.make("ChildProcess", method, subject, reason))
        )
      )
    )

  /** Fails once it is ended. */
  const untilEnded = (method: string) =>
    Effect.andThen(Deferred.await(ended), Effect.andThen(alive(method), Effect.never))

  const count = (channel: keyof typeof read, bytes: Uint8Array) =>
    Effect.suspend(() => {
      read[channel] += bytes.length
      return read.stdout + read.stderr > setting.maxOutput
        ? Effect.andThen(
            end(denied(asked.name, `the output of a command has at most ${setting.maxOutput} bytes`)),
            alive(channel)
          )
        : Effect.void
    })

  const output = (channel: keyof typeof read, source: Bytes, through: CommandRequest.Request["stdout"]): Bytes => {
    const checked = Stream.suspend(() => {
      readers++
      idle.closeUnsafe()
      return source.pipe(
        Stream.mapError(translate(channel)),
        Stream.tap((bytes) => Effect.andThen(alive(channel), count(channel, bytes))),
        Stream.interruptWhen(untilEnded(channel)),
        // The end of a process that was ended is not the end of what it had to say.
        Stream.concat(Stream.fromEffectDrain(alive(channel))),
        Stream.ensuring(Effect.sync(() => (--readers === 0 ? idle.openUnsafe() : false)))
      )
    })
    return typeof through === "string" ? checked : Stream.transduce(checked, through)
  }

  const stdout = output("stdout", raw.stdout, request.stdout)
  const stderr = output("stderr", raw.stderr, request.stderr)
  const exitCode = Effect.suspend(() =>
    reason === undefined
      ? Effect.mapError(raw.exitCode, translate("exitCode"))
      : Effect.andThen(alive("exitCode"), Effect.never)
  )

  const handle = ChildProcessSpawner.makeHandle({
    pid: raw.pid,
    exitCode: Effect.raceFirst(exitCode, untilEnded("exitCode")),
    isRunning: Effect.mapError(raw.isRunning, translate("isRunning")),
    // When it has exited its number may stand for another process. What it left running goes with its scope.
    kill: (options) =>
      raw.isRunning.pipe(
        Effect.flatMap((isRunning) => (isRunning && !isOver ? raw.kill(options) : Effect.void)),
        Effect.mapError(translate("kill"))
      ),
    stdin: Sink.mapError(
      Sink.mapInputEffect(raw.stdin, (bytes: Uint8Array) => Effect.as(alive("stdin"), bytes)),
      translate("stdin")
    ),
    stdout,
    stderr,
    all: Stream.merge(stdout, stderr),
    // There are none: `additionalFds` is refused.
    getInputFd: () => Sink.drain,
    getOutputFd: () => Stream.empty,
    unref: Effect.fail(
      Denial.make("ChildProcess", "unref", subject, denied(asked.name, "a process does not outlive its job"))
    )
  })

  const kill = Effect.ignore(raw.kill({ killSignal: request.killSignal, forceKillAfter: request.grace }))

  const endingOf = (exit: Exit.Exit<number, Failure>): Effect.Effect<Ending, Ended | Failure> => {
    if (reason !== undefined) return Effect.fail(reason)
    if (Exit.isSuccess(exit)) return Effect.succeed({ exitCode: exit.value, read })
    return Effect.flatMap(
      Effect.orElseSucceed(raw.isRunning, () => false),
      (isRunning) =>
        // A signal ended it, or else its input failed and it runs on.
        isRunning ? Effect.andThen(kill, Effect.failCause(exit.cause)) : Effect.succeed({ exitCode: null, read })
    )
  }

  return {
    handle,
    /** Until it exits, and what it said has been read by whoever reads it. Ends it if that is asked for, or if the lease is over. */
    outcome: (stop: Effect.Effect<void>) =>
      Effect.raceFirst(
        Effect.tap(Effect.exit(exitCode), () => idle.await),
        Effect.raceFirst(stop, Deferred.await(ended)).pipe(
          Effect.andThen(kill),
          Effect.andThen(Effect.exit(raw.exitCode))
        )
      ).pipe(Effect.flatMap(endingOf)),
    expired: Effect.catch(expiry(setting, operation), (error) =>
      error._tag === "LeaseExpired" ? end(error) : Effect.void
    ),
    ended: Deferred.await(ended),
    over: Effect.sync(() => {
      isOver = true
    })
  }
}

/** As what an agent gets it. */
const reported = (name: string, error: LeaseGuard.Denial | Failure): Failure =>
  Denial.isDenial(error) ? Denial.make("ChildProcess", "spawn", name, error) : error

/** Asks the lease and the declaration without running anything. What is refused is told as the call that it would have been. */
export const admit = (setting: Setting, command: ChildProcess.StandardCommand): Effect.Effect<void, Failure> =>
  Effect.suspend(() => {
    const asked = CommandRequest.read(command)
    const { declarations, grace, job } = setting
    const checked = CommandRequest.check(declarations, asked, grace)
    return Effect.matchEffect(job.guard.authorize(Operation.toolCall(asked.name)), {
      onSuccess: () => (Result.isFailure(checked) ? Effect.fail(denied(asked.name, checked.failure)) : Effect.void),
      onFailure: Effect.fail
    }).pipe(
      Effect.catch((error) => LeasedTool.call(job, asked.name, CommandRequest.show(asked), Effect.fail(error))),
      Effect.mapError((error) => reported(asked.name, error))
    )
  })

/** Calls a command. The handle is there when the process runs, the call is over when it does no more. */
export const start = (
  setting: Setting,
  command: ChildProcess.StandardCommand,
  /** What goes into it instead of what the command says. */
  input?: Bytes
): Effect.Effect<Handle, Failure, Scope.Scope> =>
  Effect.uninterruptibleMask(
    Effect.fnUntraced(function* (restore) {
      const asked = CommandRequest.read(command)
      const { declarations, grace, job } = setting
      if (job.scope.state._tag === "Closed") {
        return yield* Effect.fail(reported(asked.name, denied(asked.name, "the job has ended")))
      }
      const scope = yield* Effect.scope
      const started = Deferred.makeUnsafe<Handle, Failure>()
      const stop = Deferred.makeUnsafe<void>()

      const life = Effect.gen(function* () {
        const own = yield* Effect.scope
        let child: ReturnType<typeof supervise> | undefined
        const live = Effect.fnUntraced(function* (request: CommandRequest.Request) {
          const path = CommandLine.display([asked.name, ...asked.args])
          const translate = HostError.translate("ChildProcess", { method: "spawn", path })
          const stdin = input === undefined ? request.stdin : { ...request.stdin, stream: input }
          const raw = yield* spawn(setting, asked.name, { ...request, stdin }, own).pipe(
            Effect.mapError((error) => (Denial.isDenial(error) ? error : translate(error)))
          )
          child = supervise(setting, asked, request, raw)
          yield* Scope.addFinalizer(own, child.over)
          yield* Effect.forkIn(child.expired, own)
          yield* Deferred.succeed(started, child.handle)
          return yield* child.outcome(Deferred.await(stop))
        })
        const run = Effect.gen(function* () {
          const request = yield* Effect.fromResult(CommandRequest.check(declarations, asked, grace)).pipe(
            Effect.mapError((reason) => denied(asked.name, reason))
          )
          return yield* Effect.acquireUseRelease(
            Effect.sync(setting.enter),
            (isThere) => (isThere ? live(request) : Effect.fail(denied(asked.name, "too many processes run already"))),
            (isThere) => Effect.sync(() => (isThere ? setting.leave() : undefined))
          )
        })
        yield* LeasedTool.call(job, asked.name, CommandRequest.show(asked), run, { show })
        // What it left running goes with its scope, or with its lease.
        if (child !== undefined) yield* Effect.raceFirst(Deferred.await(stop), child.ended)
      })

      const fiber = yield* Effect.scoped(life).pipe(
        Effect.mapError((error) => reported(asked.name, error)),
        Effect.forkIn(job.scope)
      )
      // Also of a fiber that never began, since the job is over.
      fiber.addObserver((exit) =>
        Deferred.doneUnsafe(started, Exit.failCause(Exit.isFailure(exit) ? exit.cause : Cause.interrupt()))
      )
      yield* Scope.addFinalizer(
        scope,
        Effect.suspend(() =>
          Deferred.isDoneUnsafe(started)
            ? Effect.andThen(Deferred.succeed(stop, undefined), Fiber.await(fiber))
            : Fiber.interrupt(fiber)
        )
      )
      return yield* restore(Deferred.await(started))
    })
  )
