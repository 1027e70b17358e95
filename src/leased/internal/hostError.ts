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

/** Without the path in it: "ENOENT: no such file or directory, open '/proc/self/fd/20'", "spawn /usr/bin/git ENOENT". */
const factOf = (cause: Error): string => {
  const code: unknown = Reflect.get(cause, "code")
  if (typeof code !== "string") return cause.message
  return cause.message.startsWith(`${code}: `) ? (cause.message.split(", ")[0] ?? code) : code
}

const syscallOf = (syscall: string | undefined) => syscall?.split(" ")[0]

// The codes of the host stay: code written against the ordinary service may look at them.
const causeOf = (cause: Error, path: string): Error => {
  const { code, errno, syscall }: { readonly [member: string]: unknown } = { ...cause }
  return Object.assign(new Error(factOf(cause)), {
    ...(code === undefined ? undefined : { code }),
    ...(errno === undefined ? undefined : { errno }),
    ...(typeof syscall === "string" ? { syscall: syscallOf(syscall) } : undefined),
    path
  })
}

export const translate =
  (module: "FileSystem" | "ChildProcess", { method, path }: Asked) =>
  (error: PlatformError.PlatformError): PlatformError.PlatformError => {
    const { reason } = error
    if (Denial.is(error) || reason._tag === "BadArgument") return error
    const cause = reason.cause instanceof Error ? causeOf(reason.cause, Denial.shown(path)) : undefined
    return PlatformError.systemError({
      _tag: reason._tag,
      module,
      method,
      pathOrDescriptor: Denial.shown(path),
      syscall: syscallOf(reason.syscall),
      description: reason.description ?? cause?.message,
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
