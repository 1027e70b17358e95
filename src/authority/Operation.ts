/**
 * What an agent is about to do, in the terms of a lease: a capability and its target (§9.1).
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import * as AgentRef from "../protocol/AgentRef.ts"
import * as CanonicalPath from "./CanonicalPath.ts"
import * as CanonicalUrl from "./CanonicalUrl.ts"

/**
 * One thing that is about to be done.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly capability: string
  /** As the agent wrote it; {@link parts} makes it canonical. */
  readonly target: string
  /** Only a pattern that spells the host out, without a wildcard, covers it. */
  readonly named?: true
}

/**
 * Reading a file, a directory, or facts about one, at an absolute path.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fsRead = (path: string): Operation => ({ capability: "fs.read", target: path })

/**
 * Changing, creating or removing something at an absolute path.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fsWrite = (path: string): Operation => ({ capability: "fs.write", target: path })

/**
 * A request to an absolute URL.
 *
 * @category constructors
 * @since 0.1.0
 */
export const netFetch = (url: string): Operation => ({ capability: "net.fetch", target: url })

/**
 * A request to an absolute URL that leads into a network which is not public: a wildcard does not cover it (`NetworkAddress`).
 *
 * @category constructors
 * @since 0.1.0
 */
export const netFetchInside = (url: string): Operation => ({ ...netFetch(url), named: true })

/**
 * A call of the tool of this name.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toolCall = (name: string): Operation => ({ capability: "tool.call", target: name })

/**
 * Delegation to `name` or `name@version` (§7.5, §10).
 *
 * @category constructors
 * @since 0.1.0
 */
export const agentDelegate = (ref: string): Operation => ({ capability: "agent.delegate", target: ref })

/**
 * A request to the language model of this id (§9.7).
 *
 * @category constructors
 * @since 0.1.0
 */
export const modelUse = (id: string): Operation => ({ capability: "model.use", target: id })

/**
 * An operation under a vendor's capability, `x-vendor.<vendor>.<capability>`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const vendor = (capability: `x-vendor.${string}`, target: string): Operation => ({ capability, target })

/**
 * The longest name that is looked at, in UTF-16 code units.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxNameLength = 1024

/**
 * The parts of the target that patterns are matched against. The failure says why the target has no canonical form; such an operation is
 * denied whatever the lease says.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parts = ({ capability, target }: Operation): Result.Result<ReadonlyArray<string>, string> => {
  switch (capability) {
    case "fs.read":
    case "fs.write":
      return Result.map(CanonicalPath.parse(target), (path) => path.segments)
    case "net.fetch":
      return Result.map(CanonicalUrl.parse(target), CanonicalUrl.parts)
    case "agent.delegate":
      return Result.map(AgentRef.parse(target), ({ name, version }) =>
        version === undefined ? [name] : [name, `@${version}`]
      )
    default:
      if (target === "") return Result.fail("a name is not empty")
      if (target.length > maxNameLength) return Result.fail(`a name has at most ${maxNameLength} characters`)
      if (!target.isWellFormed()) return Result.fail("a name has no unpaired surrogate")
      return Result.succeed(target.split("/"))
  }
}

/**
 * The target as it may be shown: at most 256 characters, and of a URL neither user nor query nor fragment, for they may hold a secret.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describe = ({ capability, target }: Operation): string =>
  (capability === "net.fetch" ? bare(target) : target).slice(0, 256).toWellFormed()

const bare = (text: string): string => {
  const url = text.length > CanonicalUrl.maxLength ? null : URL.parse(text)
  if (url === null || url.host === "") return "(not a URL with a host)"
  return `${url.protocol}//${url.host}${url.pathname}`
}
