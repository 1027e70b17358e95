/**
 * Repeats something small often enough to time it, for no longer than it is given.
 */
import * as Case from "./Case.ts"

/** Times per second. `one` is called with 0, 1, 2, ... */
export const rate = (millis: number, one: (index: number) => void): number => {
  const began = performance.now()
  let done = 0
  let elapsed = 0
  while (elapsed < millis) {
    for (const until = done + 256; done < until; done++) one(done)
    elapsed = performance.now() - began
  }
  return done / (elapsed / 1000)
}

/** Times per second, of something that is done `count` times before the promise is. */
export const throughput = async (count: number, run: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await run()
  return count / ((performance.now() - began) / 1000)
}

/** The median of what one call takes, in microseconds. */
export const micros = (millis: number, one: () => void): number => {
  const times: Array<number> = []
  const until = performance.now() + millis
  while (times.length < 32 || (times.length < 100_000 && performance.now() < until)) {
    const began = process.hrtime.bigint()
    one()
    times.push(Number(process.hrtime.bigint() - began) / 1000)
  }
  return Case.median(times)
}
