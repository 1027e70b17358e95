/**
 * A refusal of the lease as the error of Effect's own AI services, so that code written against them handles it as it would handle a
 * refusal of the provider. Its reason is the nearest that they have; under it, as `cause`, is the error of the protocol, and the code is
 * in the metadata as well, which survive when the error is encoded for a model or a history.
 */
import * as AiError from "effect/ai/AiError"
import type * as LeaseGuard from "../../authority/LeaseGuard.ts"
import * as ArcpError from "../../protocol/ArcpError.ts"

const reasonOf = (cause: LeaseGuard.Denial): AiError.AiErrorReason => {
  const metadata = { arcp: { code: ArcpError.code(cause), message: cause.message } }
  switch (cause._tag) {
    case "PermissionDenied":
      return new AiError.AuthenticationError({
        kind: "InsufficientPermissions",
        description: cause.message,
        metadata
      })
    case "LeaseExpired":
      return new AiError.AuthenticationError({ kind: "ExpiredKey", description: cause.message, metadata })
    case "BudgetExhausted":
      return new AiError.QuotaExhaustedError({ metadata })
  }
}

/** `module` and `method` are those of the service that was called. */
export const make = (module: string, method: string, cause: LeaseGuard.Denial): AiError.AiError => {
  const reason = reasonOf(cause)
  // The schemas of reasons have no place for it.
  Object.defineProperty(reason, "cause", { value: cause, configurable: true })
  return AiError.make({ module, method, reason })
}
