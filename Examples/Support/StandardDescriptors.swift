// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The three descriptors with which every process starts: stdin, stdout and stderr.
package enum StandardDescriptors {
    /// Replaces each closed descriptor among them with a file whose use fails.
    ///
    /// Otherwise the next file that the process opens would receive one of these numbers. Output for stdout would then
    /// reach that file, for example the epoll descriptor of an event loop. The call must precede any library that opens
    /// a file.
    package static func claim() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
            // The direction is wrong on purpose: reading stdin, and writing stdout or stderr, fail with EBADF.
            let flags = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY
            // A directory can be neither written nor read.
            if open("/dev/null", flags) < 0 { _ = open("/", O_RDONLY | O_DIRECTORY) }
        }
    }
}

extension File {
    /// Returns stdin.
    ///
    /// - Throws: `SystemFailure` if stdin is closed or open for writing only.
    package static func standardInput() throws(SystemFailure) -> File {
        try self.standard(STDIN_FILENO, unless: O_WRONLY, "read stdin")
    }

    /// Returns stdout.
    ///
    /// - Throws: `SystemFailure` if stdout is closed or open for reading only.
    package static func standardOutput() throws(SystemFailure) -> File {
        try self.standard(STDOUT_FILENO, unless: O_RDONLY, "write stdout")
    }

    private static func standard(
        _ descriptor: Int32,
        unless access: Int32,
        _ what: String
    ) throws(SystemFailure) -> File {
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, flags & O_ACCMODE != access else { throw SystemFailure(what, EBADF) }
        return File(descriptor: descriptor, isOwned: false)
    }
}
