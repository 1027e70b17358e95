/**
 * Text from the wire, made safe to show: a terminal obeys control characters, whoever sent them.
 *
 * @since 0.1.0
 */
import type * as Json from "../protocol/Json.ts"

/* oxlint-disable no-control-regex */

// C0, DEL, C1, and the marks that reverse how the text after them reads.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

// Escape sequences whole, so that what they would have done does not stay behind as letters.
const sequence =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?/g

/**
 * One line of text without anything that a terminal obeys. Line breaks and tabs become spaces.
 *
 * @category conversions
 * @since 0.1.0
 */
export const line = (text: string): string =>
  text
    .replace(sequence, "")
    .replace(/[\r\n\t]+/g, " ")
    .replace(unsafe, "")

/**
 * As {@link line}, but lines stay lines.
 *
 * @category conversions
 * @since 0.1.0
 */
export const lines = (text: string): string =>
  text
    .split(/\r\n|\r|\n/)
    .map(line)
    .join("\n")

/**
 * JSON whose strings hold what they held, with everything that a terminal obeys escaped. It parses to the same value.
 *
 * @category conversions
 * @since 0.1.0
 */
export const json = (value: Json.Json | object, indent?: number): string =>
  // What `JSON.stringify` leaves as it is stands inside strings, but for its own line breaks.
  JSON.stringify(value, null, indent).replace(unsafe, (char) =>
    char === "\n" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/**
 * Cut to a number of characters, with a sign that it was.
 *
 * @category conversions
 * @since 0.1.0
 */
export const truncate = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, Math.max(0, length - 1)).replace(/[\ud800-\udbff]$/, "")}…`
