/**
 * SIGINT and SIGTERM. They interrupt the program, which unwinds and exits; but a command that has a better answer takes them first. One
 * more, which nobody takes, ends the process as it is.
 *
 * @since 0.1.0
 */
import { Context, Effect, Runtime } from "effect"
import * as ExitCode from "./ExitCode.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Signals extends Context.Service<
  Signals,
  {
    /** Waits for the next signal. While anybody waits, signals do nothing else. */
    readonly next: Effect.Effect<void>
  }
>()("arcp/cli/Signals") {}

/**
 * Runs the program of this process: as `NodeRuntime.runMain` does, but for those who wait for a signal.
 *
 * @category running
 * @since 0.1.0
 */
export const runMain = <A, E>(program: Effect.Effect<A, E, Signals>): void => {
  const waiting = new Set<() => void>()

  const next = Effect.callback<void>((resume) => {
    const wake = () => {
      waiting.delete(wake)
      resume(Effect.void)
    }
    waiting.add(wake)
    return Effect.sync(() => waiting.delete(wake))
  })

  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    let signalled = false
    const onSignal = () => {
      // Who wakes may wait again at once, for the signal after this one.
      const woken = [...waiting]
      for (const wake of woken) wake()
      if (woken.length === 0) {
        // The program is ending already, and not fast enough.
        if (signalled) process.exit(ExitCode.interrupted)
        fiber.interruptUnsafe(fiber.id)
      }
      signalled = true
    }
    process.on("SIGINT", onSignal)
    process.on("SIGTERM", onSignal)
    fiber.addObserver((exit) => {
      process.off("SIGINT", onSignal)
      process.off("SIGTERM", onSignal)
      teardown(exit, (code) => {
        // Without a reason to hurry, what was written may drain first.
        if (signalled || code !== 0) process.exit(code)
      })
    })
  })

  run(Effect.provideService(program, Signals, Signals.of({ next })))
}
