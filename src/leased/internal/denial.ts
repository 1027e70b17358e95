/**
 * A refusal of the lease as the error of the service that was used, so that code written against the ordinary one handles it as it would
 * handle a refusal of the host: a `PlatformError` whose reason is `PermissionDenied`. Its `cause` is the error of the protocol.
 */
import { PlatformError } from "effect"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import type * as Operation from "../../authority/Operation.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"

export const shown = (text: string): string => String(text).slice(0, 256).toWellFormed()

/** `subject` is what the agent named: what it leads to may be none of its business. */
export const make = (
  module: "FileSystem" | "ChildProcess",
  method: string,
  subject: string,
  cause: LeaseGuard.Denial
): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: "PermissionDenied",
    module,
    method,
    description: cause.message,
    pathOrDescriptor: shown(subject),
    cause
  })

/** For an operation that the lease itself cannot be asked about. */
export const because = (operation: Operation.Operation, reason: string): ArcpError.PermissionDenied => {
  const details = { capability: operation.capability, target: shown(operation.target) }
  return new ArcpError.PermissionDenied({
    message: `${details.capability} on ${JSON.stringify(details.target)} is denied: ${reason}`,
    details
  })
}

export const isDenial = (value: unknown): value is LeaseGuard.Denial =>
  ArcpError.isArcpError(value) &&
  (value._tag === "PermissionDenied" || value._tag === "LeaseExpired" || value._tag === "BudgetExhausted")

/** Whether the error is a refusal of this kind, and not one of the host. */
export const is = (error: PlatformError.PlatformError): boolean => isDenial(error.reason.cause)
