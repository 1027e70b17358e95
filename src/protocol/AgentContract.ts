/**
 * What an agent takes, answers and fails with: the one thing that its server and its callers share (§7.1, §7.5).
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as AgentRef from "./AgentRef.ts"
import type * as ArcpError from "./ArcpError.ts"

/**
 * The typed contract of one version of an agent. `Input`, `Output` and `Error` are schemas whose encoded side is JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentContract<
  out Input extends Schema.Top = Schema.Top,
  out Output extends Schema.Top = Schema.Top,
  out Failure extends Schema.Top = Schema.Top
> {
  readonly name: string
  /** Absent for an agent without versions, which is then addressed by its bare name. */
  readonly version: string | undefined
  /** Whether a bare name means this version. The first one registered does when none says so. */
  readonly default: boolean
  readonly input: Input
  readonly output: Output
  /** The errors that the agent declares; they arrive typed at the caller. */
  readonly error: Failure
  /** The code under which declared errors travel; `INTERNAL_ERROR` if not said. */
  readonly errorCode: ArcpError.Code
}

/**
 * A contract whose schemas are not of interest here.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = AgentContract<Schema.Top, Schema.Top, Schema.Top>

/**
 * @category constructors
 * @since 0.1.0
 */
export interface Options<Input extends Schema.Top, Output extends Schema.Top, Failure extends Schema.Top> {
  readonly name: string
  readonly version?: string
  readonly default?: boolean
  readonly input: Input
  readonly output: Output
  readonly error?: Failure
  readonly errorCode?: ArcpError.Code
}

/**
 * Describes an agent. Throws on a name or a version that §7.5 does not allow: that is a mistake in the program.
 *
 * ```ts
 * import { Schema } from "effect"
 * import { AgentContract } from "effect-arcp/protocol"
 *
 * const Greeter = AgentContract.make({
 *   name: "greeter",
 *   version: "1.0.0",
 *   input: Schema.Struct({ name: Schema.String }),
 *   output: Schema.String
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Input extends Schema.Top,
  Output extends Schema.Top,
  Failure extends Schema.Top = typeof Schema.Never
>(
  options: Options<Input, Output, Failure>
): AgentContract<Input, Output, Failure> => ({
  name: Schema.decodeUnknownSync(AgentRef.Name)(options.name),
  version: options.version === undefined ? undefined : Schema.decodeUnknownSync(AgentRef.Version)(options.version),
  default: options.default ?? false,
  input: options.input,
  output: options.output,
  error: (options.error ?? Schema.Never) as Failure,
  errorCode: options.errorCode ?? "INTERNAL_ERROR"
})

/**
 * The reference that names exactly this contract.
 *
 * @category conversions
 * @since 0.1.0
 */
export const reference = (contract: Any): string =>
  AgentRef.format(
    contract.version === undefined ? { name: contract.name } : { name: contract.name, version: contract.version }
  )
