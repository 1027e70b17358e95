/**
 * A command as the stages of a pipeline: what an agent built of commands, and may have built in any shape.
 */
import { Result } from "effect"
import type { ChildProcess } from "effect/process"

export interface Pipeline {
  readonly stages: readonly [ChildProcess.StandardCommand, ...ReadonlyArray<ChildProcess.StandardCommand>]
  /** What of one stage goes into the next. */
  readonly pipes: ReadonlyArray<"stdout" | "stderr" | "all">
}

const maxStages = 16

const tooLong = Result.fail(`a pipeline has at most ${maxStages} commands`)

const pipeOf = ({
  from = "stdout",
  to = "stdin"
}: ChildProcess.PipeOptions): Result.Result<Pipeline["pipes"][number], string> =>
  to === "stdin" && (from === "stdout" || from === "stderr" || from === "all")
    ? Result.succeed(from)
    : Result.fail("the commands of a pipeline are joined by their standard streams")

/** The failure says why it is refused. */
export const read = (command: ChildProcess.Command, depth = 0): Result.Result<Pipeline, string> => {
  if (depth >= maxStages) return tooLong
  if (command._tag === "StandardCommand") return Result.succeed({ stages: [command], pipes: [] })
  return Result.gen(function* () {
    const left = yield* read(command.left, depth + 1)
    const right = yield* read(command.right, depth + 1)
    if (left.stages.length + right.stages.length > maxStages) return yield* tooLong
    return {
      stages: [...left.stages, ...right.stages] as const,
      pipes: [...left.pipes, yield* pipeOf(command.options), ...right.pipes]
    }
  })
}
