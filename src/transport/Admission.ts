/**
 * Who may open a WebSocket. A page in a browser can reach servers on its user's machine, by their address or by a name of its own that
 * it points there (DNS rebinding); what it cannot do is lie about `Origin` and `Host`. Decided before the handshake is answered.
 *
 * @since 0.1.0
 */
import { Result } from "effect"

/**
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  /** The one path that is served. */
  readonly path: string
  /** Names that this server answers to, as `host` for any port or `host:port`. Without a list any name will do. */
  readonly hosts: ReadonlyArray<string> | undefined
  /** Origins of pages that may connect. What is no browser sends no origin and needs none. */
  readonly origins: ReadonlyArray<string>
  /** The port that a `Host` without one means: 80, or 443 with TLS. */
  readonly defaultPort: number
}

/**
 * What an opening handshake says of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attempt {
  readonly target: string | undefined
  readonly host: string | undefined
  readonly origin: string | undefined
}

/**
 * How a handshake is turned away: an HTTP status and its one line of explanation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal {
  readonly status: 403 | 404 | 426 | 503
  readonly reason: string
}

/**
 * Decides an opening handshake.
 *
 * @category combinators
 * @since 0.1.0
 */
export const decide = (policy: Policy, attempt: Attempt): Result.Result<void, Refusal> => {
  if (attempt.target?.split("?", 1)[0] !== policy.path) return Result.fail({ status: 404, reason: "no such path" })
  if (policy.hosts !== undefined && !answersTo(policy.hosts, attempt.host ?? "", policy.defaultPort)) {
    return Result.fail({ status: 403, reason: "host not allowed" })
  }
  if (attempt.origin !== undefined && !policy.origins.some((origin) => sameOrigin(origin, attempt.origin ?? ""))) {
    return Result.fail({ status: 403, reason: "origin not allowed" })
  }
  return Result.succeed(undefined)
}

const answersTo = (hosts: ReadonlyArray<string>, host: string, defaultPort: number): boolean => {
  const asked = authority(host)
  if (asked === undefined) return false
  return hosts.some((entry) => {
    const allowed = authority(entry)
    return (
      allowed !== undefined &&
      allowed.name === asked.name &&
      (allowed.port === undefined || allowed.port === (asked.port ?? defaultPort))
    )
  })
}

// A bracketed IPv6 address, or a name without anything that ends one; then perhaps a port.
const authorityPattern = /^(\[[\da-f:.]+\]|[^\s:/?#@\\[\]]+)(?::(\d{1,5}))?$/i

/**
 * The authority of a URL (`localhost:80`, `[::1]:80`): its name in the one spelling of the URL standard, and its port.
 *
 * @category conversions
 * @since 0.1.0
 */
export const authority = (text: string): { readonly name: string; readonly port: number | undefined } | undefined => {
  const [, name, port] = authorityPattern.exec(text) ?? []
  const url = name === undefined ? null : URL.parse(`http://${name}`)
  return url === null ? undefined : { name: url.hostname, port: port === undefined ? undefined : Number(port) }
}

/** Pages without an origin of their own all say `null`, whoever wrote them: no entry stands for these but that word itself. */
const sameOrigin = (allowed: string, origin: string): boolean =>
  allowed === origin || (origin !== "null" && URL.parse(allowed)?.origin === origin)
