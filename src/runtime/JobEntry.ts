/**
 * One thing that a job said: as it is written, and as whoever follows the job reads it.
 *
 * @since 0.1.0
 */
import type * as Frame from "../protocol/Frame.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as SequencedFrame from "../protocol/SequencedFrame.ts"

/**
 * What the runtime itself has to know of an entry, without reading its text.
 *
 * @category models
 * @since 0.1.0
 */
export type Note =
  /** The job handed work on to this one, see `delegate` (§10). */
  | { readonly _tag: "Child"; readonly job: Ids.JobId }
  /** This credential has a new value, which is in no journal (§9.8.2). */
  | { readonly _tag: "Rotated"; readonly credential: Ids.CredentialId }

/**
 * An entry that has no place yet; its payload is JSON text already.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft {
  readonly type: SequencedFrame.Type
  /** The event's kind; empty for a terminal. */
  readonly kind: string
  readonly payload: string
  readonly note?: Note
}

/**
 * A draft in its place.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobEntry {
  readonly type: SequencedFrame.Type
  readonly kind: string
  /** The frame but for its head, which differs from session to session (see `SequencedFrame`); as text or in UTF-8. */
  readonly tail: Frame.Piece
  readonly note: Note | undefined
}

/**
 * Consecutive entries. `firstOffset` lies beyond what was asked for if the entries between are no longer kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly firstOffset: number
  readonly entries: ReadonlyArray<JobEntry>
  /** Whether the last entry of the page is the job's last: its outcome. */
  readonly ended: boolean
}
