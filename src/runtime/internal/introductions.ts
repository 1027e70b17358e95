/**
 * Which jobs a client was told of because one of its own has delegated them. Acceptances have no number, so what is lost with a line is not
 * replayed: what was said of whom, and where, is remembered here.
 */
import { Effect, Option } from "effect"
import * as Codec from "../../protocol/Codec.ts"
import type * as Ids from "../../protocol/Ids.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"

export interface Introductions {
  readonly isNew: (child: Ids.JobId) => boolean
  /** The client is told of a job behind this number. */
  readonly note: (child: Ids.JobId, place: number) => void
  /** The acceptances that a client which has come as far as this number may lack, by the numbers behind which they belong. */
  readonly lackingAfter: (seq: number) => Effect.Effect<(place: number) => ReadonlyArray<string>>
}

/** Children that are remembered, the latest of them. */
const maxChildren = 1024

/** The acceptance of a job as it is now; nothing if that is no longer known. */
export type AcceptanceOf = (child: Ids.JobId) => Effect.Effect<Option.Option<JobMessage.Accepted>>

export const make = (acceptanceOf: AcceptanceOf): Introductions => {
  const places = new Map<Ids.JobId, number>()
  return {
    isNew: (child) => !places.has(child),
    note: (child, place) => {
      places.delete(child)
      places.set(child, place)
      if (places.size > maxChildren) places.delete(places.keys().next().value!)
    },
    lackingAfter: Effect.fnUntraced(function* (seq) {
      const lacking = new Map<number, Array<string>>()
      for (const [child, place] of places) {
        const acceptance = place < seq ? Option.none() : yield* acceptanceOf(child)
        if (Option.isNone(acceptance)) continue
        lacking.set(place, [...(lacking.get(place) ?? []), Codec.encode(acceptance.value)])
      }
      return (place) => lacking.get(place) ?? []
    })
  }
}
