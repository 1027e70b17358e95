/**
 * The authority that a job is to have, as it is written on a command line (§9.2): `fs.read=/data/**`, once per pattern, or a JSON object
 * of capability names and patterns.
 *
 * @since 0.1.0
 */
import { Result, SchemaParser } from "effect"
import * as Capability from "../protocol/Capability.ts"
import * as Codec from "../protocol/Codec.ts"

const decode = SchemaParser.decodeUnknownResult(Capability.Grants)

/**
 * The lease that several values ask for together, or what is wrong with one of them.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (values: ReadonlyArray<string>): Result.Result<Capability.Grants, string> => {
  const grants = new Map<string, Array<string>>()
  for (const value of values) {
    const parsed = value.trimStart().startsWith("{") ? parseJson(value) : parsePair(value)
    if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
    for (const [capability, patterns] of Object.entries(parsed.success)) {
      if (!Capability.isKnown(capability)) return Result.fail(unknown(capability))
      grants.set(capability, [...(grants.get(capability) ?? []), ...patterns])
    }
  }
  return Result.succeed(Object.fromEntries(grants))
}

const parsePair = (value: string): Result.Result<Capability.Grants, string> => {
  const at = value.indexOf("=")
  const pattern = value.slice(at + 1)
  return at < 1 || pattern === ""
    ? Result.fail(`${JSON.stringify(value)} is not of the form capability=pattern`)
    : Result.succeed({ [value.slice(0, at).trim()]: [pattern] })
}

const parseJson = (value: string): Result.Result<Capability.Grants, string> =>
  Result.try({ try: (): unknown => JSON.parse(value), catch: () => "the JSON of the lease is malformed" }).pipe(
    Result.flatMap((json) =>
      Result.mapError(decode(json, { errors: "first" }), (issue) => {
        const { field, problem } = Codec.describe(issue)
        return `${field === "" ? "the lease" : field}: ${problem}`
      })
    )
  )

const unknown = (capability: string) =>
  `${JSON.stringify(capability)} is no capability; there are ${Capability.Reserved.literals.join(", ")} and x-vendor.<vendor>.<name>`
