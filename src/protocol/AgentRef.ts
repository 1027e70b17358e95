/**
 * References to agents: `name` or `name@version` (§7.5).
 *
 * @since 0.1.0
 */
import { Result, Schema } from "effect"

/**
 * An agent by name, if need be in one version.
 *
 * @category models
 * @since 0.1.0
 */
export interface AgentRef {
  readonly name: string
  readonly version?: string
}

const name = /^[a-z0-9][a-z0-9._-]{0,127}$/
const version = /^[a-zA-Z0-9.+_-]{1,128}$/

/**
 * `[a-z0-9][a-z0-9._-]*`, at most 128 characters.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Name = Schema.String.check(Schema.isPattern(name, { expected: "an agent name ([a-z0-9][a-z0-9._-]*)" }))

/**
 * `[a-zA-Z0-9.+_-]+`, at most 128 characters.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Version = Schema.String.check(
  Schema.isPattern(version, { expected: "an agent version ([a-zA-Z0-9.+_-]+)" })
)

/**
 * Reads a reference; the failure says what is wrong with it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<AgentRef, string> => {
  const at = text.indexOf("@")
  const head = at < 0 ? text : text.slice(0, at)
  if (!name.test(head)) return Result.fail(`agent name ${quote(head)} does not match [a-z0-9][a-z0-9._-]*`)
  if (at < 0) return Result.succeed({ name: head })
  const tail = text.slice(at + 1)
  return version.test(tail)
    ? Result.succeed({ name: head, version: tail })
    : Result.fail(`agent version ${quote(tail)} does not match [a-zA-Z0-9.+_-]+`)
}

/**
 * The text of a reference.
 *
 * @category conversions
 * @since 0.1.0
 */
export const format = (ref: AgentRef): string => (ref.version === undefined ? ref.name : `${ref.name}@${ref.version}`)

const quote = (text: string) => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text)
