/** The processes of a test: each is a script, speaks over its channel, and ends with its scope, by its id. */
import { Cause, Effect, Queue } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import * as Path from "node:path"

export interface Process<Message extends { readonly _tag: string }> {
  /** Waits for the next message of this kind that satisfies a condition; others are passed over. Fails once the process is gone. */
  readonly next: <Tag extends Message["_tag"]>(
    tag: Tag,
    where?: (message: Extract<Message, { readonly _tag: Tag }>) => boolean
  ) => Effect.Effect<Extract<Message, { readonly _tag: Tag }>, Error>
  readonly send: (message: object) => Effect.Effect<void>
}

/** In the middle of whatever it does. */
const kill = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, "exit")
    process.kill(child.pid, "SIGKILL")
    await gone
  })

/** Starts `fixtures/<name>.ts`, and has `onMessage` hear all that it says. */
export const start = Effect.fnUntraced(function* <Message extends { readonly _tag: string }>(
  name: string,
  arguments_: ReadonlyArray<string | number> = [],
  onMessage: (message: Message) => void = () => {}
) {
  const heard = yield* Queue.unbounded<Message, Error>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => fork(Path.join(import.meta.dirname, "fixtures", `${name}.ts`), arguments_.map(String))),
    kill
  )
  child.on("message", (message: Message) => {
    onMessage(message)
    Queue.offerUnsafe(heard, message)
  })
  const fail = (why: string) => Queue.failCauseUnsafe(heard, Cause.fail(new Error(`the ${name} process: ${why}`)))
  child.once("error", ({ message }) => fail(message))
  child.once("exit", (code, signal) => fail(`ended with ${signal ?? code}`))

  const isOf = <Tag extends Message["_tag"]>(
    message: Message,
    tag: Tag
  ): message is Extract<Message, { readonly _tag: Tag }> => message._tag === tag

  return {
    next: (tag, where = () => true) =>
      Effect.gen(function* () {
        while (true) {
          const message = yield* Queue.take(heard)
          if (isOf(message, tag) && where(message)) return message
        }
      }),
    send: (message) => Effect.sync(() => child.send(message))
  } satisfies Process<Message> as Process<Message>
})
