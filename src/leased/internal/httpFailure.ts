/**
 * The HTTP client's own errors, so that code written against the ordinary service handles a refusal of the lease as it would handle any other
 * failure. The `cause` of a refusal is the error of the protocol.
 */
import { HttpClientError, type HttpClientRequest } from "effect/http"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as Operation from "../../authority/Operation.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"

type Request = HttpClientRequest.HttpClientRequest

export type Failure = HttpClientError.HttpClientError

const wrap = (reason: HttpClientError.HttpClientErrorReason) => new HttpClientError.HttpClientError({ reason })

/**
 * A refusal; nothing was sent. Its reason is none of those that clients take for a fault of the line, for it would not help to try again.
 */
export const denied = (request: Request, cause: LeaseGuard.Denial): HttpClientError.HttpClientError =>
  wrap(new HttpClientError.InvalidUrlError({ request, cause, description: cause.message }))

/** For what the lease itself cannot be asked about. */
export const because = (
  url: string,
  reason: string,
  more?: { readonly header: string }
): ArcpError.PermissionDenied => {
  const operation = Operation.netFetch(url)
  const details = { capability: operation.capability, target: Operation.describe(operation), ...more }
  return new ArcpError.PermissionDenied({
    message: `${details.capability} on ${JSON.stringify(details.target)} is denied: ${reason}`,
    details
  })
}

/** The host could not send it. */
export const transport = (request: Request, description: string, cause?: unknown): HttpClientError.HttpClientError =>
  wrap(new HttpClientError.TransportError({ request, description, ...(cause === undefined ? {} : { cause }) }))

/** What was asked for is no request. */
export const malformed = (request: Request, description: string, cause?: unknown): HttpClientError.HttpClientError =>
  wrap(new HttpClientError.EncodeError({ request, description, ...(cause === undefined ? {} : { cause }) }))
