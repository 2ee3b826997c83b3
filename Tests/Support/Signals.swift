// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Sends a signal to a process. After SIGSTOP, returns when the process has stopped: on a busy machine it may run on for a
/// while.
package func send(_ signal: Int32, to process: Int32) {
    kill(process, signal)
    guard signal == SIGSTOP else { return }
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, !isStopped(process) { usleep(500) }
}

/// Whether a process is stopped, or gone. Source: proc(5), the field behind the name in parentheses.
private func isStopped(_ process: Int32) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return true }
    guard let end = text.lastIndex(of: ")") else { return true }
    return text[end...].dropFirst(2).first == "T"
}
