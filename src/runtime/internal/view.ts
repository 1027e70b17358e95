/**
 * What one session sees of a journal: which entries, and in which words.
 */
import { Redacted } from "effect"
import type * as Feature from "../../protocol/Feature.ts"
import * as Frame from "../../protocol/Frame.ts"
import type * as Profile from "../../protocol/Profile.ts"
import type * as JobEntry from "../JobEntry.ts"

/** Whether a session that negotiated these features sees this kind; what is hidden takes no number. */
export const isVisible = (kind: string, features: ReadonlySet<Feature.Feature>): boolean =>
  !((kind === "progress" && !features.has("progress")) || (kind === "result_chunk" && !features.has("result_chunk")))

/** The members that an entry brings to a frame. */
export const parse = ({ tail }: JobEntry.JobEntry): unknown => JSON.parse(`{${Frame.textOfPiece(tail).slice(1)}`)

/** Clients of one family read an inline result from `output`; for all others an entry leaves as it stands. */
export const projected = (entry: JobEntry.JobEntry, profile: Profile.Profile): Frame.Piece => {
  if (profile !== "go" || entry.type !== "job.result") return entry.tail
  const frame = parse(entry) as { payload: { result?: unknown; output?: unknown } }
  if (frame.payload.result !== undefined) frame.payload.output = frame.payload.result
  return `,${JSON.stringify(frame).slice(1)}`
}

/** The entry that tells of a new value, with that value, under each name by which clients look for it. Secrets leave here and in the codec. */
export const revealing = (entry: JobEntry.JobEntry, value: Redacted.Redacted): JobEntry.JobEntry => {
  const frame = parse(entry) as { payload: { body: object } }
  const secret = Redacted.value(value)
  frame.payload.body = { ...frame.payload.body, value: secret, credential_value: secret }
  return { ...entry, tail: `,${JSON.stringify(frame).slice(1)}` }
}
