import { Effect, Scope } from "effect"
import * as JobEmitter from "../../src/authority/JobEmitter.ts"
import type * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import type * as JobEvent from "../../src/protocol/JobEvent.ts"
import type * as LeasedJob from "../../src/leased/LeasedJob.ts"

/** Something that a job said. */
export interface Said {
  readonly kind: JobEvent.Kind
  readonly body: unknown
}

/** A job under this guard that keeps what it says. Its calls are `call_1`, `call_2`, ... */
export const make = (
  guard: LeaseGuard.LeaseGuard["Service"]
): LeasedJob.LeasedJob & { readonly said: ReadonlyArray<Said>; readonly scope: Scope.Closeable } => {
  const said: Array<Said> = []
  let calls = 0
  return {
    guard,
    scope: Scope.makeUnsafe(),
    said,
    emitter: JobEmitter.JobEmitter.of({ emit: (kind, body) => Effect.sync(() => void said.push({ kind, body })) }),
    nextCallId: Effect.sync(() => `call_${++calls}`)
  }
}
