/**
 * The language of lease patterns (§9.2). One rule holds for all of them:
 *
 * A pattern covers a target as a whole, from its first part to its last, with regard to case. `*` is any run of characters inside one
 * part, and as a part of its own exactly one part that is not empty. `**` as a part of its own is any number of parts, also none, so
 * `/a/**` covers `/a` as well; glued to other characters it is a `*`. `?`, `[`, `{` and all else stand for themselves.
 *
 * What the parts are depends on the capability, and pattern and target are made canonical in the same way first:
 *
 * | capability | parts | canonical form |
 * | --- | --- | --- |
 * | `fs.read`, `fs.write` | names in a path, by `/` | `CanonicalPath` |
 * | `net.fetch` | scheme, port, labels of the host by `.`, segments of the path by `/` | `CanonicalUrl` |
 * | `agent.delegate` | the agent's name, then its version behind `@` | as written |
 * | `tool.call`, `model.use`, `x-vendor.*` | parts of a name, by `/` | as written |
 *
 * So `https://*.good.com/**` covers one label before `good.com`, `https://**.good.com/**` any number, also none; a port is exact unless it
 * is `*`; `https://h/` is the root alone. In names dots are plain characters: `search.*` covers `search.web.deep`. An `agent.delegate`
 * pattern without `@` covers the agent in every version.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import * as Automaton from "./Automaton.ts"
import * as CanonicalPath from "./CanonicalPath.ts"
import * as CanonicalUrl from "./CanonicalUrl.ts"
import * as Inclusion from "./Inclusion.ts"
import * as Segment from "./Segment.ts"

/**
 * A pattern that was read: what one line of a lease covers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pattern {
  readonly capability: string
  /** As it was sent. */
  readonly source: string
  /** Its one spelling: patterns of a capability with the same canonical text cover the same. */
  readonly canonical: string
  readonly segments: ReadonlyArray<Segment.Segment>
}

/**
 * The longest pattern, in UTF-16 code units, as it is sent and in its canonical form.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 1024

interface Form {
  readonly canonical: string
  readonly parts: ReadonlyArray<string>
}

const form = (capability: string, source: string): Result.Result<Form, string> => {
  switch (capability) {
    case "fs.read":
    case "fs.write":
      return Result.map(CanonicalPath.parsePattern(source), (path) => ({
        canonical: CanonicalPath.format(path),
        parts: path.segments
      }))
    case "net.fetch":
      return Result.map(CanonicalUrl.parsePattern(source), (url) => ({
        canonical: CanonicalUrl.format(url),
        parts: CanonicalUrl.parts(url)
      }))
    case "agent.delegate": {
      const at = source.indexOf("@")
      if (at >= 0 && source.includes("/", at)) return Result.fail("a version has no slash")
      return Result.succeed({
        canonical: source,
        parts: at < 0 ? [...source.split("/"), Segment.anyDepth] : [...source.slice(0, at).split("/"), source.slice(at)]
      })
    }
    case "cost.budget":
      return Result.fail("a budget is an amount, not a pattern")
    default:
      return Result.succeed({ canonical: source, parts: source.split("/") })
  }
}

/**
 * Reads a pattern of this capability. The failure says what is wrong with it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (capability: string, source: string): Result.Result<Pattern, string> => {
  if (source === "") return Result.fail("a pattern is not empty")
  if (source.length > maxLength) return Result.fail(`a pattern has at most ${maxLength} characters`)
  if (!source.isWellFormed()) return Result.fail("a pattern has no unpaired surrogate")
  return Result.flatMap(form(capability, source), ({ canonical, parts }) =>
    canonical.length > maxLength
      ? Result.fail(`a pattern has at most ${maxLength} characters, its escapes included`)
      : Result.succeed({ capability, source, canonical, segments: parts.map(Segment.parse) })
  )
}

/**
 * A pattern that covers this name, path or URL and nothing else. Patterns have no escape, so a text that holds a `*` has none: it is refused
 * here, where pasting it into a lease would have widened that.
 *
 * @category constructors
 * @since 0.1.0
 */
export const literal = (text: string): Result.Result<string, string> =>
  text.includes("*")
    ? Result.fail(`no pattern covers just ${JSON.stringify(text.slice(0, 200))}: it holds a *`)
    : Result.succeed(text)

/**
 * A pattern that covers this directory and everything below it, or nothing for one whose name holds a `*`, see {@link literal}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const below = (directory: string): Result.Result<string, string> =>
  Result.map(literal(directory), (text) => (text.endsWith("/") ? `${text}**` : `${text}/**`))

/**
 * Whether the pattern covers the target, given as its canonical parts (`Operation.parts`). For a single question; a lease asks all its
 * patterns at once through an automaton that it keeps.
 *
 * @category predicates
 * @since 0.1.0
 */
export const matches = (self: Pattern, parts: ReadonlyArray<string>): boolean =>
  Automaton.accepts(Automaton.make([self.segments]), parts)

/**
 * What the targets of a capability are like, see `Operation.parts`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const targets = (capability: string): Inclusion.Targets => {
  const isPath = capability === "fs.read" || capability === "fs.write"
  return { noParts: isPath, emptyParts: !isPath && capability !== "agent.delegate" }
}

/**
 * Whether it is proved that the patterns, taken together, cover whatever `child` covers (§9.4); all are of one capability. What cannot be
 * proved within the bounds of `Inclusion` is not included.
 *
 * @category predicates
 * @since 0.1.0
 */
export const includes = (self: ReadonlyArray<Pattern>, child: Pattern): boolean => {
  const union = Inclusion.union(self.map((pattern) => pattern.segments))
  return Inclusion.decide(union, child.segments, targets(child.capability), Inclusion.allowance())._tag === "Within"
}

/**
 * Whether it is a `net.fetch` pattern that spells its host out, without a wildcard.
 *
 * @category predicates
 * @since 0.1.0
 */
export const namesHost = (self: Pattern): boolean => self.capability === "net.fetch" && plainHost.test(self.canonical)

/** The port may be a wildcard. */
const plainHost = /^[^:]+:\/\/[^/*]+(?::\*)?\//
