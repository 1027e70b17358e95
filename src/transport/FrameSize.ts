/**
 * How large a frame is on the wire, and how large it may be. The size counts in UTF-8, which is what passes over a socket or a pipe.
 *
 * @since 0.1.0
 */
import * as Utf8 from "../protocol/Utf8.ts"

/**
 * What every transport accepts unless told otherwise: 4 MiB. Peers keep their own frames below 1 MiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMax: number = 4 * 1024 * 1024

/**
 * Whether a frame is larger than `max` bytes. Counts only where the length alone leaves it open.
 *
 * @category guards
 * @since 0.1.0
 */
export const exceeds = (text: string, max: number): boolean =>
  text.length > max || (text.length * 3 > max && Utf8.byteLength(text) > max)
