/**
 * Provisioned credentials: upstream secrets minted for one job (§9.8).
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Ids from "./Ids.ts"

/**
 * A credential as `job.accepted` carries it. Its `value` is `Redacted` from decoding on, so it cannot reach a log or a span by accident.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Credential = Schema.Struct({
  id: Ids.CredentialId,
  scheme: Schema.NonEmptyString,
  value: Schema.RedactedFromValue(Schema.String, { label: "credential" }),
  endpoint: Schema.String,
  profile: Schema.optionalKey(Schema.String),
  constraints: Schema.optionalKey(
    Schema.Struct({
      "cost.budget": Schema.optionalKey(Schema.Array(Schema.String)),
      "model.use": Schema.optionalKey(Schema.Array(Schema.String)),
      expires_at: Schema.optionalKey(Schema.String)
    })
  )
})
export type Credential = typeof Credential.Type

/**
 * The one scheme that version 1.1 defines; a client ignores credentials of any other (§9.8.1).
 *
 * @category constants
 * @since 0.1.0
 */
export const scheme = "bearer"

/**
 * Whether a client can be expected to understand it.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isDefined = (self: Credential): boolean => self.scheme === scheme
