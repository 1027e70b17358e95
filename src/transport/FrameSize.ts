/**
 * How large a frame is on the wire, and how large it may be. The size counts in UTF-8, which is what passes over a socket or a pipe.
 *
 * @since 0.1.0
 */

/**
 * What every transport accepts unless told otherwise: 4 MiB. Peers keep their own frames below 1 MiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMax: number = 4 * 1024 * 1024

/**
 * The bytes of a text in UTF-8. A lone surrogate counts as the replacement character that it is sent as.
 *
 * @category conversions
 * @since 0.1.0
 */
export const byteLength = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    bytes += unit < 0x800 ? 1 : 2
    // Two units make one character of four bytes.
    if (unit >= 0xd800 && unit <= 0xdbff && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) i++
  }
  return bytes
}

/**
 * Whether a frame is larger than `max` bytes. Counts only where the length alone leaves it open.
 *
 * @category guards
 * @since 0.1.0
 */
export const exceeds = (text: string, max: number): boolean =>
  text.length > max || (text.length * 3 > max && byteLength(text) > max)
