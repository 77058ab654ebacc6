#!/usr/bin/env node
// What `npx draftbridge` runs in a checkout. Set-up links it into node_modules/.bin.
import { register } from 'tsx/esm/api'

register()
await import('../src/cli/main.ts')
