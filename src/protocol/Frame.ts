/**
 * A frame on its way out. Once there is enough of what a job has said it lies in the journal in UTF-8: it is encoded once, and copied from
 * there to each session that is sent it, behind a head of that session's own. So such a frame is not text, unless a transport wants it to be.
 *
 * @since 0.1.0
 */
import type * as SequencedFrame from "./SequencedFrame.ts"

/**
 * A part of some bytes that are text in UTF-8.
 *
 * @category models
 * @since 0.1.0
 */
export interface Slice {
  readonly bytes: Uint8Array
  readonly from: number
  readonly to: number
}

/**
 * The end of a frame, as text or in UTF-8.
 *
 * @category models
 * @since 0.1.0
 */
export type Piece = string | Slice

/**
 * A frame, whole or as what is special to a session and what is not.
 *
 * @category models
 * @since 0.1.0
 */
export type Frame = string | Sequenced

/**
 * A frame of a session's sequence whose end is in UTF-8 already.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sequenced {
  readonly head: SequencedFrame.Head
  readonly type: string
  readonly event_seq: number
  readonly tail: Slice
}

/**
 * The frame of a session with this number; its tail is shared with others.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (head: SequencedFrame.Head, type: string, event_seq: number, tail: Piece): Frame =>
  typeof tail === "string" ? head.textOf(type, event_seq) + tail : { head, type, event_seq, tail }

/**
 * About how long a piece is: in characters, and of what is in UTF-8 in bytes.
 *
 * @category conversions
 * @since 0.1.0
 */
export const lengthOfPiece = (piece: Piece): number =>
  typeof piece === "string" ? piece.length : piece.to - piece.from

/**
 * About how long a frame is: in characters, and of what is in UTF-8 in bytes.
 *
 * @category conversions
 * @since 0.1.0
 */
export const lengthOf = (frame: Frame): number =>
  typeof frame === "string" ? frame.length : sizeOfHead(frame) + lengthOfPiece(frame.tail)

/**
 * The bytes that the head takes.
 *
 * @category conversions
 * @since 0.1.0
 */
export const sizeOfHead = ({ event_seq, head, type }: Sequenced): number => head.sizeOf(type, event_seq)

/**
 * Writes the head from a place on, and gives the place behind it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const writeHead = ({ event_seq, head, type }: Sequenced, into: Uint8Array, at: number): number =>
  head.write(type, event_seq, into, at)

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * A piece as text.
 *
 * @category conversions
 * @since 0.1.0
 */
export const textOfPiece = (piece: Piece): string =>
  typeof piece === "string" ? piece : decoder.decode(piece.bytes.subarray(piece.from, piece.to))

/**
 * A frame as text, for a transport that takes nothing else.
 *
 * @category conversions
 * @since 0.1.0
 */
export const textOf = (frame: Frame): string =>
  typeof frame === "string" ? frame : frame.head.textOf(frame.type, frame.event_seq) + textOfPiece(frame.tail)
