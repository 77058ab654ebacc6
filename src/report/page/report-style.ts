/** The style sheet of the page. Only system fonts, because the file must work without a network. */
export const STYLE = `
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #ffffff; --ink: #1c2126; --soft: #5d6871; --line: #e3e5e2;
  --accent: #17628c; --far: #c3cdd3; --good: #2e7040; --bad: #a8322d }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1b1f23; --ink: #e4e7e9; --soft: #98a3ab;
  --line: #2d3338; --accent: #6bbbe6; --far: #46525a; --good: #7cc38d; --bad: #ef8f89 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif }
main { max-width: 1220px; margin: 0 auto; padding: 40px 24px 64px }
header p, figcaption p, .lead { color: var(--soft); margin: 0 }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; font-weight: 650 }
h2 { font-size: 19px; margin: 44px 0 14px; font-weight: 650 }
h3 { font-size: 15px; margin: 0; font-weight: 600 }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 1px; margin: 28px 0 0; padding: 0; background: var(--line); border: 1px solid var(--line); border-radius: 10px; overflow: hidden }
.facts div { background: var(--card); padding: 16px 18px }
.facts dt { color: var(--soft); font-size: 13px }
.facts dd { margin: 2px 0 0; font-size: 25px; line-height: 1.25; font-weight: 600; font-variant-numeric: tabular-nums; letter-spacing: -0.01em }
.facts small { display: block; color: var(--soft); font-size: 13px; font-weight: 400; letter-spacing: 0; line-height: 1.4; margin-top: 2px }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); gap: 18px }
figure { margin: 0; padding: 18px 20px 12px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; min-width: 0 }
figcaption p { font-size: 13px }
svg { display: block; width: 100%; height: auto; margin-top: 10px; overflow: visible }
.bar { fill: var(--accent) } .bar:hover { fill: color-mix(in oklab, var(--accent) 70%, var(--ink)) } .below { margin-top: 18px }
mark { background: color-mix(in oklab, var(--accent) 24%, transparent); color: inherit; border-radius: 3px; box-decoration-break: clone; -webkit-box-decoration-break: clone }
.grid { stroke: var(--line); stroke-width: 1 }
.tick { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
circle { fill: var(--c); opacity: 0 } circle:hover { opacity: 1 }
.end { fill: color-mix(in oklab, var(--c) 70%, var(--ink)); font-size: 11.5px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: pre }
.empty { color: var(--soft); padding: 40px 0; text-align: center }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--soft); font-size: 13px; padding: 4px 0 }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line) }
thead th { color: var(--soft); font-weight: 500; font-size: 13px } tbody th { font-weight: 500 }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 20px; overflow-x: auto }
.health th, .health td { text-align: left } .health td:nth-child(2) { text-align: right; width: 9em } .health td:last-child, .health th:last-child { color: var(--soft); padding-left: 32px } .health th:nth-child(2) { text-align: right }
.card tbody tr:last-child > * { border-bottom: 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 18px; align-items: start }
details { margin-top: 8px; font-size: 13px } summary { color: var(--soft); cursor: pointer; padding: 4px 0 } summary:hover { color: var(--ink) }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px }
.scroll { max-height: 260px; overflow: auto }
pre { margin: 0; font: 13px/1.55 ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere }
code { font: 0.92em ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; overflow-wrap: anywhere }
.good { color: var(--good) } .bad { color: var(--bad) } .note { color: var(--soft); font-size: 14px; margin: 10px 0 0 }
footer { margin-top: 48px; padding-top: 14px; border-top: 1px solid var(--line); color: var(--soft); font-size: 13px }
@media print { :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --accent: #17628c; --far: #c3cdd3 }
  body { font-size: 11pt } main { padding: 0; max-width: none } figure, .card, .facts { break-inside: avoid } summary { display: none } details:not([open]) { display: none } .plots { grid-template-columns: 1fr 1fr } }
`
