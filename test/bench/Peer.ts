/**
 * A process that takes part in a measurement. The one that measures starts it, asks it to do things by name, and ends it by its id; a peer
 * whose starter has gone ends itself.
 */
import { type ChildProcess, fork } from "node:child_process"
import * as Path from "node:path"

/** What a peer can be asked to do. Input and output pass between the processes as JSON. */
export interface Commands {
  readonly [name: string]: (input: never) => unknown
}

interface Call {
  readonly id: number
  readonly name: string
  readonly input: unknown
}

type Reply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly message: string }

export interface Peer<C extends Commands> {
  /** Asks for one thing and waits for its end, at most `millis`; by default a minute. */
  readonly call: <K extends keyof C & string>(
    name: K,
    input: Parameters<C[K]>[0],
    millis?: number
  ) => Promise<Awaited<ReturnType<C[K]>>>
  /** Microseconds of processor time that it has used so far, which other load on the machine hardly changes. */
  readonly processorTime: () => Promise<number>
  /** Begins to watch how much memory is resident, once what can be collected has been. */
  readonly watch: () => Promise<void>
  /** The most that was resident at any time since `watch`, less what was then, in bytes. */
  readonly growth: () => Promise<number>
  readonly stop: () => Promise<void>
}

/** Where the profiles of a peer go, and the name that they begin with. */
export interface Profiling {
  readonly folder: string
  readonly name: string
}

const stopPatience = 20_000

/** Starts `peers/<name>.ts` as a process of its own. */
export const start = async <C extends Commands>(name: string, profiling?: Profiling): Promise<Peer<C>> => {
  const child = fork(Path.join(import.meta.dirname, "peers", `${name}.ts`), {
    execArgv: ["--expose-gc", ...(profiling === undefined ? [] : profilingFlags(profiling))],
    stdio: ["ignore", "inherit", "inherit", "ipc"]
  })
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  const failAll = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  const gone = new Promise<void>((resolve) => {
    child.once("exit", (code, signal) => {
      failAll(new Error(`the ${name} process has ended: ${signal ?? `exit code ${code}`}`))
      resolve()
    })
  })
  child.once("error", failAll)
  child.on("message", (reply: Reply) => {
    const call = waiting.get(reply.id)
    waiting.delete(reply.id)
    if (reply.ok) call?.resolve(reply.value)
    else call?.reject(new Error(`${name}: ${reply.message}`))
  })

  let lastId = 0
  const ask = (command: string, input: unknown, millis: number) =>
    new Promise<unknown>((resolve, reject) => {
      const id = ++lastId
      const timer = setTimeout(() => {
        waiting.delete(id)
        reject(new Error(`${name}: ${command} took more than ${millis} ms`))
      }, millis)
      const settled =
        <A>(then: (value: A) => void) =>
        (value: A) => {
          clearTimeout(timer)
          then(value)
        }
      waiting.set(id, { resolve: settled(resolve), reject: settled(reject) })
      child.send({ id, name: command, input } satisfies Call)
    })

  const peer: Peer<C> = {
    call: (command, input, millis = 60_000) =>
      ask(command, input, millis) as Promise<Awaited<ReturnType<C[typeof command]>>>,
    processorTime: async () => Number(await ask(processorTime, undefined, 10_000)),
    watch: async () => void (await ask(watch, undefined, 10_000)),
    growth: async () => Number(await ask(growth, undefined, 10_000)),
    stop: () => end(child, gone)
  }
  try {
    await ask(ready, undefined, 30_000)
  } catch (cause) {
    await peer.stop()
    throw cause
  }
  return peer
}

const profilingFlags = ({ folder, name }: Profiling) => [
  "--cpu-prof",
  `--cpu-prof-dir=${folder}`,
  `--cpu-prof-name=${name}.cpuprofile`,
  "--heap-prof",
  `--heap-prof-dir=${folder}`,
  `--heap-prof-name=${name}.heapprofile`
]

/** Leaves a peer the time to write its profiles. */
const end = async (child: ChildProcess, gone: Promise<void>) => {
  if (child.connected) child.disconnect()
  const kill = setTimeout(() => child.kill("SIGKILL"), stopPatience)
  await gone
  clearTimeout(kill)
}

const ready = "ready"
const processorTime = "processorTime"
const watch = "watch"
const growth = "growth"

/** What every peer can be asked. */
const common: Commands = {
  [ready]: () => true,
  [processorTime]: () => {
    const { system, user } = process.cpuUsage()
    return user + system
  },
  [watch]: async () => {
    watched = (await memory()).rss
    highest = watched
    maxBefore = maxRss()
    clearInterval(looking)
    looking = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage.rss())
    }, 20)
  },
  [growth]: () => {
    clearInterval(looking)
    // The system's own maximum misses nothing, but counts from the start of the process, which may have been higher.
    const max = maxRss()
    return Math.max(highest, process.memoryUsage.rss(), max > maxBefore ? max : 0) - watched
  }
}

let watched = 0
let highest = 0
let maxBefore = 0
let looking: NodeJS.Timeout | undefined

const maxRss = () => process.resourceUsage().maxRSS * 1024

/** What the script of a peer does: answers calls until its starter lets go of it. */
export const serve = (commands: Commands): void => {
  const answer = async ({ id, input, name }: Call): Promise<Reply> => {
    try {
      const command = common[name] ?? commands[name]
      if (command === undefined) throw new Error(`there is no command ${name}`)
      return { id, ok: true, value: (await command(input as never)) ?? null }
    } catch (cause) {
      return { id, ok: false, message: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }
    }
  }
  process.on("message", (call: Call) => {
    void answer(call).then((reply) => {
      if (process.connected) process.send?.(reply)
    })
  })
  process.once("disconnect", () => process.exit(0))
}

/** Memory in use after what can be collected has been, in bytes. */
export const memory = async (): Promise<{ readonly rss: number; readonly heap: number }> => {
  if (globalThis.gc === undefined) throw new Error("needs --expose-gc")
  for (let round = 0; round < 4; round++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { heapUsed, rss } = process.memoryUsage()
  return { rss, heap: heapUsed }
}
