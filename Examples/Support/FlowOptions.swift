// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
package import QpidProton

/// The options for rates, and for warnings about stalled links.
package struct FlowOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The most messages a second, for example 100 or 0.5; the others wait where they are.",
            valueName: "rate"
        )
    )
    package var rate: Double?

    @Option(
        help: ArgumentHelp(
            "The most bytes of messages a second; K, M, G are understood. After a pause, 16K may pass at once.",
            valueName: "bytes"
        )
    )
    package var byteRate: ByteSize?

    @Option(
        help: ArgumentHelp(
            "Warn after messages have waited this long and none moved, and name the cause; 0 for never.",
            valueName: "seconds"
        )
    )
    package var stallWarning = 30.0

    package init() {}

    package func check() throws {
        if let rate = self.rate, !(rate > 0 && rate <= 1e9) {
            throw ValidationError("--rate takes a number of messages a second, more than 0")
        }
        guard self.byteRate?.bytes != 0 else { throw ValidationError("--byte-rate takes 1 byte a second or more") }
        guard self.stallWarning == 0 || (0.01...1e9).contains(self.stallWarning) else {
            throw ValidationError("--stall-warning takes seconds, 0.01 or more, or 0 for none")
        }
    }

    /// The limit for the link; `nil` for none.
    package var rateLimit: AMQPRateLimit? {
        guard self.rate != nil || self.byteRate != nil else { return nil }
        // A short burst: at most 5 % above the rate within any second.
        return AMQPRateLimit(
            messagesPerSecond: self.rate,
            bytesPerSecond: self.byteRate.map { Double($0.bytes) },
            burst: .milliseconds(50)
        )
    }

    /// Sets up the warnings of a connection.
    package func apply(to configuration: inout AMQPConnection.Configuration) {
        configuration.stallWarning = self.stallWarning > 0 ? .seconds(self.stallWarning) : nil
    }
}
