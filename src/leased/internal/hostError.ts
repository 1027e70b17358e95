/**
 * What the host reports of an operation that the lease covers, in the agent's words: of what it named, and not of how the host calls it.
 */
import { PlatformError } from "effect"
import * as Denial from "./denial.ts"

/** What an agent called, and with what. */
export interface Asked {
  readonly method: string
  readonly path: string
}

/** "ENOENT: no such file or directory, open '/proc/self/fd/20'" without what comes after the comma. */
const factOf = (cause: unknown): string | undefined =>
  cause instanceof Error ? cause.message.split(", ")[0] : undefined

// The codes of the host stay: code written against the ordinary service may look at them.
const causeOf = (cause: unknown, path: string): unknown => {
  if (!(cause instanceof Error)) return undefined
  const kept = Object.entries(cause).filter(([name]) => ["code", "errno", "syscall"].includes(name))
  return Object.assign(new Error(factOf(cause)), Object.fromEntries(kept), { path })
}

export const translate =
  (module: "FileSystem" | "ChildProcess", { method, path }: Asked) =>
  (error: PlatformError.PlatformError): PlatformError.PlatformError => {
    const { reason } = error
    if (Denial.is(error) || reason._tag === "BadArgument") return error
    const cause = causeOf(reason.cause, Denial.shown(path))
    return PlatformError.systemError({
      _tag: reason._tag,
      module,
      method,
      pathOrDescriptor: Denial.shown(path),
      syscall: reason.syscall,
      description: reason.description ?? factOf(reason.cause),
      ...(cause === undefined ? undefined : { cause })
    })
  }

export const make = (
  tag: PlatformError.SystemErrorTag,
  { method, path }: Asked,
  description: string
): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: tag,
    module: "FileSystem",
    method,
    pathOrDescriptor: Denial.shown(path),
    description
  })
