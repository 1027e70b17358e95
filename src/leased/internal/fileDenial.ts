/**
 * A refusal of the lease as the file system's own error, so that code written against the ordinary service handles it as it would handle
 * a refusal of the host: a `PlatformError` whose reason is `PermissionDenied`. Its `cause` is the error of the protocol.
 */
import { PlatformError } from "effect"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import type * as Operation from "../../authority/Operation.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"

const shown = (text: string): string => text.slice(0, 256).toWellFormed()

/** `path` is the path as the agent gave it: what it leads to may be none of the agent's business. */
export const make = (method: string, path: string, cause: LeaseGuard.Denial): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: "PermissionDenied",
    module: "FileSystem",
    method,
    description: cause.message,
    pathOrDescriptor: shown(path),
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
