/**
 * The ordinary `ChildProcessSpawner` service behind a job's lease (§9.2, §9.3): to run a command is to call the tool of its name. The host
 * declares which commands there are; an agent spawns `ChildProcess.make("git", ["status"])` as it would anywhere, and what runs is what the
 * host has declared under `git`, if the lease covers `tool.call` of it.
 *
 * Each process shows as one `tool_call` with its arguments and one `tool_result` with its exit code and how many bytes of its output were
 * read; arguments that are `Redacted` are not shown. It is ended, with all of its process group, when its scope closes, when the job ends,
 * and when the lease expires; then its streams fail with `LeaseExpired` as the cause. The stages of a pipeline are calls of their own, and
 * none starts before all are admitted.
 *
 * | option | under a lease |
 * | --- | --- |
 * | `cwd` | a directory that `fs.read` covers, within the command's own if it declares one |
 * | `env` | of the variables that the command accepts; nothing else of an environment goes to the process, but what the command declares |
 * | `stdin` `stdout` `stderr` | a stream, a sink, `pipe`, `ignore`; `inherit` is refused, for these are the host's |
 * | `killSignal` `forceKillAfter` | the signal is sent first; at the latest after the host's grace the process is killed |
 * | `shell` `extendEnv` `detached` `additionalFds`, `unref` of the handle, descriptors in a pipeline | refused |
 * | `windowsHide` | nothing |
 *
 * **Gotchas**
 *
 * A lease ends at the process: what a program does with its files and its network is for the host to bound. Arguments can make a program
 * run another (`git -c core.pager=...`), so declare commands by what they can be made to do, with fixed `args` first and with `refuses`. A
 * process that leaves its process group is not found again.
 *
 * @since 0.1.0
 */
import { Clock, Context, Duration, Effect, FileSystem, Layer, Option, type PlatformError } from "effect"
import { ChildProcessSpawner } from "effect/process"
import * as Operation from "../authority/Operation.ts"
import * as AnchoredFiles from "./AnchoredFiles.ts"
import * as CommandRequest from "./internal/commandRequest.ts"
import * as Denial from "./internal/denial.ts"
import * as FileAccess from "./internal/fileAccess.ts"
import * as LeasedProcess from "./internal/leasedProcess.ts"
import * as Pipeline from "./internal/pipeline.ts"
import * as Place from "./internal/place.ts"
import type * as LeasedJob from "./LeasedJob.ts"

/**
 * What runs under a name.
 *
 * @category models
 * @since 0.1.0
 */
export type Command = CommandRequest.Declaration

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** By the names that agents and leases call them. */
  readonly commands: Readonly<Record<string, Command>>
  /** Where a relative `cwd` of an agent starts: an absolute path. Without it these are refused. */
  readonly root?: string | undefined
  /** How long a process may take to end before it is killed. Default 5 seconds. */
  readonly grace?: Duration.Input | undefined
  /** How many processes of one job may run at the same time. Default 16. */
  readonly maxProcesses?: number | undefined
  /** The most bytes that one process may say. Default 67,108,864. */
  readonly maxOutput?: number | undefined
}

/**
 * What a host has for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Host {
  readonly spawner: ChildProcessSpawner.ChildProcessSpawner["Service"]
  readonly fileSystem: FileSystem.FileSystem
  readonly anchored?: AnchoredFiles.AnchoredFiles | undefined
  /** By which leases expire while a process runs. */
  readonly clock: Clock.Clock
}

/** Makes the spawner of one job. */
const assemble = (setting: LeasedProcess.Setting): ChildProcessSpawner.ChildProcessSpawner["Service"] =>
  ChildProcessSpawner.make(
    Effect.fnUntraced(function* (command) {
      const { pipes, stages } = yield* Effect.mapError(Effect.fromResult(Pipeline.read(command)), (reason) =>
        refusal("pipeline", reason)
      )
      for (const { command: name } of stages) {
        if (!CommandRequest.isName(String(name)))
          return yield* Effect.fail(refusal(String(name), "this names no command"))
      }
      if (pipes.length === 0) return yield* LeasedProcess.start(setting, stages[0])
      for (const stage of stages) yield* LeasedProcess.admit(setting, stage)
      const handles = [yield* LeasedProcess.start(setting, stages[0])] as [Handle, ...Array<Handle>]
      let last = handles[0]
      for (const [index, pipe] of pipes.entries()) {
        last = yield* LeasedProcess.start(setting, stages[index + 1]!, last[pipe])
        handles.push(last)
      }
      return ChildProcessSpawner.makeHandle({
        ...last,
        stdin: handles[0].stdin,
        kill: (options) =>
          Effect.forEach(handles.toReversed(), (handle) => Effect.ignore(handle.kill(options)), { discard: true })
      })
    })
  )

type Handle = ChildProcessSpawner.ChildProcessHandle

const refusal = (name: string, reason: string): PlatformError.PlatformError =>
  Denial.make("ChildProcess", "spawn", name, Denial.because(Operation.toolCall(name), reason))

/**
 * The processes of one job, as far as its lease and these declarations go. A refusal is a `PlatformError` with the reason
 * `PermissionDenied`; its `cause` is the error of the protocol.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  host: Host,
  job: LeasedJob.LeasedJob,
  options: Options
): ChildProcessSpawner.ChildProcessSpawner["Service"] => {
  const files = Place.host(host.fileSystem, host.anchored)
  const { commands, maxProcesses = 16, maxOutput = 67_108_864, root } = options
  let running = 0
  return assemble({
    job,
    spawner: host.spawner,
    files,
    access: FileAccess.make(files, job.guard, { root }),
    clock: host.clock,
    declarations: new Map(Object.entries(commands)),
    grace: Duration.fromInputUnsafe(options.grace ?? "5 seconds"),
    maxOutput,
    enter: () => running < maxProcesses && ++running > 0,
    leave: () => void running--
  })
}

/**
 * The spawner of a host that declares no commands: all are refused.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusing: ChildProcessSpawner.ChildProcessSpawner["Service"] = ChildProcessSpawner.make((command) =>
  Effect.fail(
    refusal(command._tag === "StandardCommand" ? String(command.command) : "pipeline", "the host declares no commands")
  )
)

/**
 * Makes the spawner of one job.
 *
 * @category models
 * @since 0.1.0
 */
export type Factory = (job: LeasedJob.LeasedJob) => ChildProcessSpawner.ChildProcessSpawner["Service"]

/**
 * What a runtime makes the spawners of its jobs with; {@link refusing} for all of them unless the host says otherwise.
 *
 * @category services
 * @since 0.1.0
 */
export const LeasedChildProcess = Context.Reference<Factory>("arcp/leased/LeasedChildProcess", {
  defaultValue: () => () => refusing
})

/**
 * Offers these commands to jobs, each within its lease.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<never, never, ChildProcessSpawner.ChildProcessSpawner | FileSystem.FileSystem> =>
  Layer.effect(
    LeasedChildProcess,
    Effect.gen(function* () {
      const host: Host = {
        spawner: yield* ChildProcessSpawner.ChildProcessSpawner,
        fileSystem: yield* FileSystem.FileSystem,
        anchored: Option.getOrUndefined(yield* AnchoredFiles.AnchoredFiles),
        clock: yield* Clock.Clock
      }
      const factory: Factory = (job) => make(host, job, options)
      return factory
    })
  )
