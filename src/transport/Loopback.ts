/**
 * Which hosts never leave this machine. A line to one of them counts as secure without TLS (§14).
 *
 * @since 0.1.0
 */

const loopback = /^(localhost|127(\.\d{1,3}){3}|::1|::ffff:(127(\.\d{1,3}){3}|7f[\da-f]{2}:[\da-f]{1,4}))$/i

/**
 * Whether a host name or an address, with or without the brackets of IPv6, is this machine itself.
 *
 * @category guards
 * @since 0.1.0
 */
export const is = (host: string): boolean => loopback.test(host.replace(/^\[(.*)\]$/, "$1"))
