/**
 * Mints upstream secrets for one job, and takes them back when it has ended (§9.8): a port, with one implementation for each kind of
 * upstream. How long a credential lives is none of its business; `Credentials` sees to that.
 *
 * @since 0.1.0
 */
import { type BigDecimal, Context, Effect, Layer, type Option, Schema } from "effect"
import * as ArcpError from "../protocol/ArcpError.ts"
import type * as Credential from "../protocol/Credential.ts"
import type * as Ids from "../protocol/Ids.ts"
import type * as Lease from "./Lease.ts"

/**
 * For which job a credential is to be minted, and what that job may do: an upstream that can enforce a part of it should (§9.8.3).
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly job: Ids.JobId
  /** The resolved `name@version`. */
  readonly agent: string
  /** Whose job it is. */
  readonly principal: string
  /** The job that delegated this one. */
  readonly parent: Option.Option<Ids.JobId>
  /** The effective lease, with `model.use` and the expiry. */
  readonly lease: Lease.Lease
  /** What the job may still spend, by currency; a currency that is absent is not bounded. Asked anew when a credential is rotated. */
  readonly budget: Effect.Effect<ReadonlyMap<string, BigDecimal.BigDecimal>>
}

/**
 * What a provisioner mints. The id on the wire is given by `Credentials`, and a rotated credential keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Issued {
  /** `constraints` are those that the upstream has confirmed, no others. */
  readonly credential: Omit<Credential.Credential, "id">
  /** What {@link Provisioner.revoke} takes: 1 to {@link maxHandleLength} characters. It is stored, so it must be no secret. */
  readonly handle: string
  /** When it has to be replaced, in milliseconds since the Unix epoch; nothing for one that lasts as long as its job can. */
  readonly renewAt: Option.Option<number>
}

/**
 * The longest handle.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxHandleLength = 16_384

/**
 * Writes down, durably, that a handle stands for something that has to be revoked.
 *
 * @category models
 * @since 0.1.0
 */
export type Remember = (handle: string) => Effect.Effect<void, ProvisionError>

/**
 * What mints credentials at one upstream, and revokes them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Provisioner {
  /** Tells it from the others of a runtime; kept with what is outstanding, so it must stay the same from start to start. */
  readonly name: string
  /**
   * Mints what this upstream has for the job, which may be nothing. Each handle is remembered as early as it is known, best before the
   * upstream hears of it; whatever was remembered is revoked if this fails, is interrupted, or does not return it.
   */
  readonly issue: (request: Request, remember: Remember) => Effect.Effect<ReadonlyArray<Issued>, ProvisionError>
  /**
   * Mints the successor of a credential, with a handle of its own; the former value is revoked afterwards by the former handle. One that
   * gives the former handle back says that the upstream has replaced the value in place.
   */
  readonly rotate?: (request: Request, current: Issued, remember: Remember) => Effect.Effect<Issued, ProvisionError>
  /** Idempotent: to revoke twice, or what was never minted, succeeds. */
  readonly revoke: (handle: string) => Effect.Effect<void, ProvisionError>
}

/**
 * Why a provisioner failed.
 *
 * - `Unavailable`: it may work later.
 * - `BudgetExceeded`: the upstream says that the money is spent.
 * - `Rejected`: the upstream does not do this for us, however often we ask.
 * - `Malformed`: what came back cannot be used.
 * - `Unsupported`: this provisioner does no such thing.
 *
 * @category errors
 * @since 0.1.0
 */
export const Reason = Schema.Literals(["Unavailable", "BudgetExceeded", "Rejected", "Malformed", "Unsupported"])
export type Reason = typeof Reason.Type

/**
 * A failure of a provisioner or of its upstream. `message` is written by the provisioner and holds nothing that the upstream said, for that
 * may be a secret.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProvisionError extends Schema.TaggedError<ProvisionError>("arcp/authority/ProvisionError")(
  "ProvisionError",
  {
    provisioner: Schema.String,
    reason: Reason,
    message: Schema.String,
    /** How long to wait at least before it is tried again, in milliseconds, if the upstream said so. */
    retryAfter: Schema.optionalKey(Schema.Finite)
  }
) {
  get retryable(): boolean {
    return this.reason === "Unavailable"
  }
}

/**
 * What the submitter hears: `BUDGET_EXHAUSTED` if the upstream says so, else `INTERNAL_ERROR` that names the provisioner and no more.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toArcpError = ({
  provisioner,
  reason
}: ProvisionError): ArcpError.BudgetExhausted | ArcpError.InternalError =>
  reason === "BudgetExceeded"
    ? new ArcpError.BudgetExhausted({
        message: `${provisioner}: the budget for credentials is spent at the upstream`,
        details: { provisioner }
      })
    : new ArcpError.InternalError({
        message: `${provisioner}: the credentials of the job could not be issued`,
        details: { provisioner, reason }
      })

/**
 * An option of a provisioner that cannot be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidProvisioner extends Schema.TaggedError<InvalidProvisioner>("arcp/authority/InvalidProvisioner")(
  "InvalidProvisioner",
  { provisioner: Schema.String, field: Schema.String, reason: Schema.String }
) {
  override get message() {
    return `${this.provisioner}: ${this.field} ${this.reason}`
  }
}

/**
 * The provisioners of this runtime; none, unless somebody provides some. Without one, `provisioned_credentials` is not offered.
 *
 * @category services
 * @since 0.1.0
 */
export const Provisioners = Context.Reference<ReadonlyArray<Provisioner>>("arcp/authority/Provisioners", {
  defaultValue: () => []
})

/**
 * Several provisioners: a job gets what each of them has for it, or nothing at all if one of them fails. Each is told of the whole budget,
 * so two upstreams that both take money can spend it twice.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerAll = <E, R>(
  provisioners: ReadonlyArray<Effect.Effect<Provisioner, E, R>>
): Layer.Layer<never, E | InvalidProvisioner, R> =>
  Layer.effect(
    Provisioners,
    Effect.gen(function* () {
      const all: Array<Provisioner> = []
      for (const make of provisioners) {
        const provisioner = yield* make
        const { name } = provisioner
        const problem =
          name.length < 1 || name.length > 64
            ? "must have 1 to 64 characters"
            : all.some((other) => other.name === name)
              ? "is the name of another one"
              : undefined
        if (problem !== undefined) {
          return yield* new InvalidProvisioner({ provisioner: name.slice(0, 64), field: "name", reason: problem })
        }
        all.push(provisioner)
      }
      return all
    })
  )

/**
 * Provisions from one upstream.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  provisioner: Effect.Effect<Provisioner, E, R>
): Layer.Layer<never, E | InvalidProvisioner, R> => layerAll([provisioner])
