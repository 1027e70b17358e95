/**
 * Which jobs a client was told of because one of its own has delegated them. Acceptances have no number, so what is lost with a line is not
 * replayed: what was said of whom, and where, is remembered here.
 */
import { Effect, Option } from "effect"
import * as Codec from "../../protocol/Codec.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"

/** The numbers behind which a client was told of each of these jobs. */
export type Introductions = Map<Ids.JobId, number>

/** Children that are remembered, the latest of them. */
const maxChildren = 1024

/** The acceptance of a job as it is now; nothing if that is no longer known. */
export type AcceptanceOf = (child: Ids.JobId) => Effect.Effect<Option.Option<JobMessage.Accepted>>

/** The client is told of a job behind this number. */
export const note = (self: Introductions, child: Ids.JobId, place: number): void => {
  self.delete(child)
  self.set(child, place)
  if (self.size > maxChildren) self.delete(self.keys().next().value!)
}

/** The acceptances that a client which has come as far as this number may lack, by the numbers behind which they belong. */
export const lackingAfter = Effect.fnUntraced(function* (
  self: Introductions,
  seq: number,
  acceptanceOf: AcceptanceOf
): Effect.fn.Return<ReadonlyMap<number, ReadonlyArray<string>>> {
  const lacking = new Map<number, Array<string>>()
  for (const [child, place] of self) {
    const acceptance = place < seq ? Option.none() : yield* acceptanceOf(child)
    if (Option.isNone(acceptance)) continue
    lacking.set(place, [...(lacking.get(place) ?? []), Codec.encode(acceptance.value)])
  }
  return lacking
})
