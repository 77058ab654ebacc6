import path from 'node:path'

/** Where set-up reads and writes. Everything that it makes lies inside the checkout. */
export class Checkout {
  /** @param {string} root */
  constructor(root) {
    this.root = root
    this.venv = path.join(root, '.venv')
    /** Only set-up uses it, and git ignores it. It may be deleted at any time. */
    this.state = path.join(root, '.setup')
    this.logs = path.join(this.state, 'log')
    this.stamp = path.join(this.state, 'stamp.json')
    this.lock = path.join(this.state, 'lock')
    this.running = path.join(this.state, 'running')
    this.requirements = path.join(root, 'python/requirements.txt')
    this.devRequirements = path.join(root, 'python/requirements-dev.txt')
    this.pymport = path.join(root, 'node_modules/pymport')
    this.bridge = path.join(this.pymport, `lib/binding/${process.platform}-${process.arch}/pymport.node`)
  }
}
