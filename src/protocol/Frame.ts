/**
 * The text of a frame on its way out. What is large is in two pieces, of which the second is in UTF-8 already: that is made once, when a job
 * says it, lies in the journal as it is, and is copied from there to each session that is sent it.
 *
 * @since 0.1.0
 */

/**
 * The end of a frame, as text or in UTF-8.
 *
 * @category models
 * @since 0.1.0
 */
export type Piece = string | Uint8Array

/**
 * A frame, whole or as what is special to a session and what is not.
 *
 * @category models
 * @since 0.1.0
 */
export type Frame = string | { readonly head: string; readonly tail: Uint8Array }

/**
 * A frame of a session's head and the tail that it shares with others.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (head: string, tail: Piece): Frame => (typeof tail === "string" ? head + tail : { head, tail })

/**
 * About how long a frame is: in characters, and of what is in UTF-8 in bytes.
 *
 * @category conversions
 * @since 0.1.0
 */
export const lengthOf = (frame: Frame): number =>
  typeof frame === "string" ? frame.length : frame.head.length + frame.tail.length

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * A piece as text.
 *
 * @category conversions
 * @since 0.1.0
 */
export const textOfPiece = (piece: Piece): string => (typeof piece === "string" ? piece : decoder.decode(piece))

/**
 * A frame as text, for a transport that takes nothing else.
 *
 * @category conversions
 * @since 0.1.0
 */
export const textOf = (frame: Frame): string =>
  typeof frame === "string" ? frame : frame.head + textOfPiece(frame.tail)
