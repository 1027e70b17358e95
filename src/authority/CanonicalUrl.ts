/**
 * URLs as authority sees them: parsed first, compared by parts, one spelling per place (§9.2).
 *
 * The parser is that of the URL standard, the same that sends the request, so both see the same host and path: scheme and host in lower
 * case, international names in ASCII, odd spellings of IP addresses made plain, dot segments (also `%2e`) resolved, backslashes read as
 * `/` where the scheme says so. Beyond that:
 *
 * - the default port is written out, so `https://h` and `https://h:443` are one; a scheme without a default has the port `""`;
 * - escapes of unreserved characters are decoded, all others (such as `%2F`) stay and are written in upper case, so an escaped slash
 *   never separates segments;
 * - query and fragment are dropped: a lease speaks of places, not of what is asked there;
 * - an empty segment counts, so `/a/` is not `/a`.
 *
 * Refused is whatever different readers take for different places: user information, whitespace and control characters, escapes that are
 * none, dot segments that show only to some of them (behind an escaped slash or before a `;`, as in `/a/..%2Fb` and `/a/..;/b`, behind
 * more than one layer of escapes, in overlong UTF-8, or in look-alikes of dot and slash), a backslash or a `%` that the parser left
 * standing, and URLs without a host.
 *
 * @since 0.1.0
 */
import { Result } from "effect"

/**
 * The parts of a URL by which it is compared.
 *
 * @category models
 * @since 0.1.0
 */
export interface CanonicalUrl {
  /** Without the colon. */
  readonly scheme: string
  /** A name, or an IP address as the URL standard writes it. */
  readonly host: string
  /** Digits, or `""` where none is given and the scheme has no default. A pattern may have `*`. */
  readonly port: string
  /** Starts with `/`. */
  readonly path: string
}

/**
 * The longest URL that is looked at, in UTF-16 code units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 8192

const defaultPorts: ReadonlyMap<string, string> = new Map([
  ["http", "80"],
  ["https", "443"],
  ["ws", "80"],
  ["wss", "443"],
  ["ftp", "21"]
])

/** Spaces and control characters: some of them the URL parser would strip in silence. */
const unprintable = /[^!-~\u0080-\uffff]/
const brokenEscape = /%(?![0-9A-Fa-f]{2})/
const dotSegment = /(?:^|[/\\])\.{1,2}(?:$|[/\\;])/
const unreserved = /[A-Za-z0-9._~-]/

const normalizeEscapes = (path: string): string =>
  path.includes("%")
    ? path.replace(/%[0-9A-Fa-f]{2}/g, (escape) => {
        const char = String.fromCharCode(Number.parseInt(escape.slice(1), 16))
        return unreserved.test(char) ? char : escape.toUpperCase()
      })
    : path

/** ASCII in two, three or four bytes, of which the first ones say nothing. */
const overlong = /%(?:F0%80%80|E0%80|C0)%([89AB][0-9A-F])|%(?:F0%80%81|E0%81|C1)%([89AB][0-9A-F])/g

/** A character of one to four bytes. */
const escaped =
  /%[0-7][0-9A-F]|%[CD][0-9A-F]%[89AB][0-9A-F]|%E[0-9A-F](?:%[89AB][0-9A-F]){2}|%F[0-7](?:%[89AB][0-9A-F]){3}/g

/** A path after it was decoded once, by the most forgiving of readers, who mends what he meets on the way. */
const decoded = (path: string): string =>
  path
    .toUpperCase()
    .replace(overlong, (_, low?: string, high?: string) =>
      String.fromCharCode(low === undefined ? Number.parseInt(high ?? "", 16) - 0x40 : Number.parseInt(low, 16) - 0x80)
    )
    .replace(escaped, (character) =>
      Result.getOrElse(
        Result.try(() => decodeURIComponent(character)),
        () => character
      )
    )
    .normalize("NFKC")
    .replace(/[^!-\uffff]/g, "")

/** How often a path can be decoded before it is taken for one that hides something. */
const maxDecodings = 16

/** Whether there is a dot segment for a reader who decodes until nothing is left. */
const hidesDots = (path: string): boolean => {
  let read = path
  for (let times = 0; times < maxDecodings; times++) {
    // What is there already, further decoding leaves.
    if (!read.includes("%")) return dotSegment.test(read)
    const next = decoded(read)
    if (next === read) return dotSegment.test(read)
    read = next
  }
  return true
}

/**
 * Reads an absolute URL. The failure says why it is refused, and does not repeat it: a URL may hold a secret.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<CanonicalUrl, string> => {
  if (text.length > maxLength) return Result.fail(`a URL has at most ${maxLength} characters`)
  if (unprintable.test(text)) return Result.fail("a URL has no whitespace or control characters")
  if (!text.isWellFormed()) return Result.fail("a URL has no unpaired surrogate")
  const url = URL.parse(text)
  if (url === null) return Result.fail("this is not an absolute URL")
  if (url.username !== "" || url.password !== "") return Result.fail("a URL has no user information")
  if (url.hostname === "") return Result.fail("a URL names a host")
  if (url.hostname.includes("%")) return Result.fail("a host has no percent escapes")
  if (url.pathname.includes("\\")) return Result.fail("a URL has no backslash")
  if (brokenEscape.test(url.pathname)) return Result.fail("a percent sign in a path starts an escape such as %20")
  const path = normalizeEscapes(url.pathname === "" ? "/" : url.pathname)
  if (hidesDots(path)) return Result.fail("a path hides no dot segments")
  const scheme = url.protocol.slice(0, -1)
  return Result.succeed({
    scheme,
    host: url.hostname,
    port: url.port === "" ? (defaultPorts.get(scheme) ?? "") : url.port,
    path
  })
}

const pattern = /^([A-Za-z][A-Za-z0-9+.-]*:\/\/)([^/?#\\@%]+)(\/[^?#\\]*)?$/
const stars = (text: string) => text.split("*").length - 1

/**
 * Reads the text of a pattern by the same rules. It is written `scheme://host[:port][/path]` and may have `*` in host and path and for
 * the port. Besides what {@link parse} refuses, it has no query or fragment (they are never matched), writes a host with a `*` in ASCII
 * (the parser could make a `*` of something else), and has no `..` behind a wildcard (it could stand for many places).
 *
 * @category conversions
 * @since 0.1.0
 */
export const parsePattern = (text: string): Result.Result<CanonicalUrl, string> => {
  const match = pattern.exec(text)
  if (match === null) return Result.fail("a URL pattern is written scheme://host[:port][/path], without query or user")
  const [, scheme = "", authority = "", path = ""] = match
  const anyPort = authority.endsWith(":*")
  const host = anyPort ? authority.slice(0, -2) : authority
  if (host === "") return Result.fail("a URL names a host")
  return Result.flatMap(parse(scheme + host + path), (url) => {
    if (url.host.includes("*") && !/^[\u0021-\u007e]*$/.test(authority)) {
      return Result.fail("a host with a wildcard is written in ASCII")
    }
    if (stars(url.host + url.path) !== stars(host + path)) return Result.fail("'..' must not follow a wildcard")
    return Result.succeed(anyPort ? { ...url, port: "*" } : url)
  })
}

/** Stands between host and path. Neither can hold it, so no wildcard of the one ever covers a part of the other. */
const border = "\0"

/**
 * The parts that are compared, outermost first: scheme, port, the labels of the host, the segments of the path.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parts = (self: CanonicalUrl): ReadonlyArray<string> => [
  self.scheme,
  self.port,
  ...self.host.split("."),
  border,
  ...self.path.slice(1).split("/")
]

/**
 * The one way to write it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const format = (self: CanonicalUrl): string =>
  `${self.scheme}://${self.host}${self.port === "" ? "" : `:${self.port}`}${self.path}`
