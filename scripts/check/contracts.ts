interface Verdict {
  readonly ok: boolean
  readonly output: string
}

/**
 * Reads what lint-imports prints. It keeps every contract when it finds no module, for instance after a package was
 * renamed, so a result without modules, imports or contracts fails. When all is well the output is one line a contract.
 */
export function checkContracts({ ok, output }: Verdict): Verdict {
  const [, files = '0', dependencies = '0'] = /Analyzed (\d+) files, (\d+) dependencies/.exec(output) ?? []
  if (Number(files) < 2 || Number(dependencies) === 0) {
    return { ok: false, output: `it found ${files} modules and ${dependencies} imports\n${output}` }
  }
  const kept = output.split('\n').filter((line) => / KEPT$/.test(line))
  if (!ok || kept.length === 0) return { ok: false, output }
  return { ok: true, output: kept.map((line) => `         ${line}`).join('\n') }
}
