/**
 * The size of text where it is sent: in UTF-8.
 *
 * @since 0.1.0
 */

const encoder = new TextEncoder()

/** Units of UTF-16 that are looked at in one go; none takes more than three bytes. */
const slice = 16_384
const scratch = new Uint8Array(3 * slice)

/**
 * Whether a text ends in the first half of a character that takes two units of UTF-16: the second half is then in what follows.
 *
 * @category predicates
 * @since 0.1.0
 */
export const endsInHalf = (text: string): boolean => (text.charCodeAt(text.length - 1) & 0xfc00) === 0xd800

/**
 * The bytes of a text in UTF-8. A lone surrogate counts as the replacement character that it is sent as.
 *
 * @category conversions
 * @since 0.1.0
 */
export const byteLength = (text: string): number => {
  let bytes = 0
  let start = 0
  while (start < text.length) {
    const part = text.slice(start, start + slice)
    const isCut = start + part.length < text.length && endsInHalf(part)
    const whole = isCut ? part.slice(0, -1) : part
    bytes += encoder.encodeInto(whole, scratch).written
    start += whole.length
  }
  return bytes
}
