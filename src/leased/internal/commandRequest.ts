/**
 * What an agent asks of a command, held against what the host declares of it. All that an agent gives is read once, and only what is
 * understood goes on: an option that a later Effect adds is refused until it is known here.
 */
import { Duration, Option, Redacted, Result, Sink, Stream } from "effect"
import type { PlatformError } from "effect"
import type { ChildProcess, CommandLine } from "effect/process"
import type * as Json from "../../protocol/Json.ts"

/** What runs under a name, as the host declares it. */
export interface Declaration {
  /** The program: an absolute path. */
  readonly executable: string
  /** Arguments that come before those of the agent. */
  readonly args?: ReadonlyArray<CommandLine.Word> | undefined
  /** The directory in which it runs, and in which an agent may choose another. Default `/`. */
  readonly cwd?: string | undefined
  /** Its environment, the whole of it. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted | undefined>> | undefined
  /**
   * The names of variables that agents may set. None by default: a variable can make a program run something else, and which do is known only
   * to who knows the program.
   */
  readonly acceptsEnv?: ReadonlyArray<string> | undefined
  /** Why these arguments of an agent are refused, if they are. */
  readonly refuses?: ((args: ReadonlyArray<string>) => string | undefined) | undefined
}

type Output = Sink.Sink<Uint8Array, Uint8Array, never, PlatformError.PlatformError>

/** One command, as the agent gave it. */
export interface Asked {
  readonly name: string
  readonly args: ReadonlyArray<CommandLine.Word>
  readonly options: { readonly [option: string]: unknown }
}

/** What of it goes on. */
export interface Request {
  readonly declaration: Declaration
  readonly args: ReadonlyArray<CommandLine.Word>
  /** As the agent gave it. */
  readonly cwd: string | undefined
  readonly env: Readonly<Record<string, string | Redacted.Redacted>>
  readonly stdin: ChildProcess.StdinConfig
  readonly stdout: "pipe" | "ignore" | Output
  readonly stderr: "pipe" | "ignore" | Output
  readonly killSignal: ChildProcess.Signal
  /** Until it is killed for good. */
  readonly grace: Duration.Duration
}

const maxShown = 64

const cut = (text: string): string => (text.length > 256 ? `${text.slice(0, 256)}...` : text).toWellFormed()

const isWord = (value: unknown): value is CommandLine.Word =>
  typeof value === "string" || (Redacted.isRedacted(value) && typeof Redacted.value(value) === "string")

const plain = (word: CommandLine.Word): string => (Redacted.isRedacted(word) ? Redacted.value(word) : word)

/** Reads what the agent gave. It need not have the shape that it is typed with. */
export const read = (command: ChildProcess.StandardCommand): Asked => {
  const { env, ...options } = command.options
  return {
    name: String(command.command),
    args: Array.from(command.args),
    options: env === undefined ? options : { ...options, env: { ...env } }
  }
}

/** The names of commands that can be asked for at all. */
export const isName = (name: string): boolean => name !== "" && name.length <= 256 && name.isWellFormed()

/** How a call shows among the events of the job: without values of variables, and without what is redacted. */
export const show = ({ args, options: { cwd, env } }: Asked): Json.Json => {
  const shown = args.slice(0, maxShown).map((word) => (typeof word === "string" ? cut(word) : "<redacted>"))
  const names = typeof env === "object" && env !== null ? Object.keys(env).slice(0, maxShown).map(cut) : []
  return {
    args: args.length > maxShown ? [...shown, `... and ${args.length - maxShown} more`] : shown,
    ...(typeof cwd === "string" ? { cwd: cut(cwd) } : undefined),
    ...(names.length > 0 ? { env: names } : undefined)
  }
}

type Checked<A> = Result.Result<A, string>

const refused = (option: string, reason: string): Result.Result<never, string> =>
  Result.fail(`options.${option} ${reason}`)

const text = (option: string, value: unknown): Checked<string | undefined> =>
  value === undefined || typeof value === "string" ? Result.succeed(value) : refused(option, "is a text")

const never =
  (reason: string, ...harmless: ReadonlyArray<unknown>) =>
  (option: string, value: unknown): Checked<undefined> =>
    value === undefined || harmless.includes(value) ? Result.succeed(undefined) : refused(option, reason)

const host = "would join the process to those of the host"

const inputStream = (value: unknown): Checked<ChildProcess.CommandInput> => {
  if (value === undefined || value === "pipe" || value === "overlapped") return Result.succeed("pipe")
  if (value === "ignore") return Result.succeed("ignore")
  return Stream.isStream(value) ? Result.succeed(value as ChildProcess.CommandInput) : refused("stdin", host)
}

const members = ["stream", "endOnDone", "encoding"]

const isConfig = (value: unknown): value is { readonly stream?: unknown } =>
  typeof value === "object" &&
  value !== null &&
  !Stream.isStream(value) &&
  !Sink.isSink(value) &&
  Object.keys(value).every((member) => members.includes(member))

const input = (value: unknown): Checked<ChildProcess.StdinConfig> => {
  if (!isConfig(value)) return Result.map(inputStream(value), (stream) => ({ stream }))
  const { encoding, endOnDone, stream }: { encoding?: unknown; endOnDone?: unknown; stream?: unknown } = value
  if (endOnDone !== undefined && typeof endOnDone !== "boolean") return refused("stdin.endOnDone", "is a boolean")
  if (encoding !== undefined && typeof encoding !== "string") return refused("stdin.encoding", "is a text")
  return Result.map(inputStream(stream), (stream) => ({
    stream,
    endOnDone,
    encoding: encoding as ChildProcess.Encoding | undefined
  }))
}

const output = (option: string, value: unknown): Checked<"pipe" | "ignore" | Output> => {
  const stream = isConfig(value) ? value.stream : value
  if (stream === undefined || stream === "pipe" || stream === "overlapped") return Result.succeed("pipe")
  if (stream === "ignore") return Result.succeed("ignore")
  return Sink.isSink(stream) ? Result.succeed(stream as Output) : refused(option, host)
}

/**
 * What a variable does to a program is known to nobody but who knows the program: `LD_PRELOAD`, `NODE_OPTIONS`, `GIT_SSH_COMMAND` and `HOME`
 * all run code. So names are not looked through for bad ones; those that the host lists are taken.
 */
const environment = (
  { acceptsEnv = [], env: own = {} }: Declaration,
  value: unknown
): Checked<Record<string, string | Redacted.Redacted>> => {
  if (value !== undefined && (typeof value !== "object" || value === null)) return refused("env", "is an object")
  const env = new Map(Object.entries(own))
  for (const [name, given] of Object.entries(value ?? {})) {
    if (!acceptsEnv.includes(name))
      return refused("env", `has ${JSON.stringify(cut(name))}, which is not for agents to set`)
    if (given !== undefined && !isWord(given))
      return refused("env", `has ${JSON.stringify(cut(name))}, which is not a text`)
    env.set(name, given)
  }
  const set: Record<string, string | Redacted.Redacted> = {}
  for (const [name, given] of env) if (given !== undefined) set[name] = given
  return Result.succeed(set)
}

const signal = (value: unknown): Checked<ChildProcess.Signal> => {
  if (value === undefined) return Result.succeed("SIGTERM")
  return typeof value === "string" && /^SIG[A-Z0-9]{1,10}$/.test(value)
    ? Result.succeed(value as ChildProcess.Signal)
    : refused("killSignal", "is the name of a signal")
}

const force = (value: unknown, grace: Duration.Duration): Checked<Duration.Duration> => {
  if (value === undefined) return Result.succeed(grace)
  return Option.match(Duration.fromInput(value as Duration.Input), {
    onNone: () => refused("forceKillAfter", "is a duration"),
    onSome: (given) => Result.succeed(Duration.min(given, grace))
  })
}

/** Every option of a command, and what is done with it. */
const options = {
  additionalFds: never("gives the process more than its standard streams"),
  cwd: text,
  detached: never("would take the process out of its job"),
  env: "checked with the declaration",
  extendEnv: never("hands the environment of the host over", false),
  forceKillAfter: "checked with the grace",
  killSignal: "checked",
  shell: never("runs a text and not a command", false),
  stderr: "checked",
  stdin: "checked",
  stdout: "checked",
  windowsHide: never("is not understood", true, false)
} satisfies { readonly [O in keyof Required<ChildProcess.CommandOptions>]: unknown }

/** The failure says why it is refused. */
export const check = (
  declarations: ReadonlyMap<string, Declaration>,
  { args, name, options: given }: Asked,
  grace: Duration.Duration
): Result.Result<Request, string> =>
  Result.gen(function* () {
    const declaration = declarations.get(name)
    if (declaration === undefined) return yield* Result.fail("the host declares no command of this name")
    if (!declaration.executable.startsWith("/")) {
      return yield* Result.fail("the host's declaration is unusable: an executable is an absolute path")
    }
    for (const option of Object.keys(given)) {
      if (!Object.hasOwn(options, option)) return yield* refused(cut(option), "is not known")
    }
    if (!args.every(isWord)) return yield* Result.fail("an argument is a text")
    for (const option of ["additionalFds", "detached", "extendEnv", "shell", "windowsHide"] as const) {
      yield* options[option](option, given[option])
    }
    const reason = declaration.refuses?.(args.map(plain))
    if (reason !== undefined) return yield* Result.fail(reason)
    return {
      declaration,
      args: [...(declaration.args ?? []), ...args],
      cwd: yield* text("cwd", given["cwd"]),
      env: yield* environment(declaration, given["env"]),
      stdin: yield* input(given["stdin"]),
      stdout: yield* output("stdout", given["stdout"]),
      stderr: yield* output("stderr", given["stderr"]),
      killSignal: yield* signal(given["killSignal"]),
      grace: yield* force(given["forceKillAfter"], grace)
    }
  })
