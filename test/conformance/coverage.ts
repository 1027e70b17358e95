/**
 * The books of the conformance suite: which requirements the tests cite, and where requirements and citations disagree.
 */
import type { Requirement } from "./requirements.ts"

export interface Citation {
  /** Undefined where the source does not write the id as a literal. */
  readonly id: string | undefined
  readonly file: string
}

/**
 * One alternative per thing that can hide or hold a citation, leftmost first: comments and string contents are consumed
 * whole, so a call that is only spoken of is not taken for one.
 */
const token = new RegExp(
  [
    /\/\*[\s\S]*?\*\//,
    /\/\/[^\n]*/,
    /\bverifies(?:\.live)?\s*\(\s*(?<ids>"[^"\n]*"|\[[^\]]*\])?/,
    /`(?:\\[\s\S]|[^`\\])*`/,
    /"(?:\\.|[^"\\\n])*"/,
    /'(?:\\.|[^'\\\n])*'/
  ]
    .map((alternative) => alternative.source)
    .join("|"),
  "g"
)

export const citations = (file: string, source: string): ReadonlyArray<Citation> =>
  Array.from(source.matchAll(token)).flatMap((match): ReadonlyArray<Citation> => {
    if (!match[0].startsWith("verifies")) return []
    const ids = Array.from((match.groups?.["ids"] ?? "").matchAll(/"([^"\n]*)"/g), (literal) => literal[1])
    return ids.length === 0 ? [{ id: undefined, file }] : ids.map((id) => ({ id, file }))
  })

/** Every disagreement as a sentence that names the id; empty when the books are in order. */
export const audit = (
  requirements: ReadonlyArray<Requirement>,
  cited: ReadonlyArray<Citation>
): ReadonlyArray<string> => {
  const files = Map.groupBy(cited, (citation) => citation.id)
  const filesOf = (id: string | undefined) =>
    Array.from(new Set((files.get(id) ?? []).map((citation) => citation.file))).join(", ")
  const rows = Map.groupBy(requirements, (requirement) => requirement.id)

  return [
    ...requirements.flatMap(({ id, text, deferred }) => {
      const isCited = files.has(id)
      return [
        ...(rows.get(id)!.length > 1 ? [`${id} is listed more than once`] : []),
        ...(/^C-\d{3}[a-z]?$/.test(id) ? [] : [`${id} is not an id such as C-001`]),
        ...(text.trim() === "" ? [`${id} has no text`] : []),
        ...(deferred !== undefined && deferred.trim() === "" ? [`${id} is deferred without a reason`] : []),
        ...(!isCited && deferred === undefined ? [`${id} is neither cited by a test nor deferred: ${text}`] : []),
        ...(isCited && deferred !== undefined ? [`${id} is deferred and yet cited in ${filesOf(id)}`] : [])
      ]
    }),
    ...Array.from(files.keys()).flatMap((id) => {
      if (id === undefined) return [`a citation in ${filesOf(id)} is not a literal id`]
      return rows.has(id) ? [] : [`${id}, cited in ${filesOf(id)}, is no requirement`]
    })
  ]
}
