// SPDX-License-Identifier: Apache-2.0

import FuzzEntries

/// libFuzzer's own main, but for the arguments.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>, Int) -> CInt
) -> CInt

/// `fuzz [libFuzzer's arguments]`: FUZZ_TARGET names the target. `fuzz --list` names them all.
@main
struct Fuzz {
    static let target = Environment.value("FUZZ_TARGET").flatMap { FuzzTarget(rawValue: $0) }

    static func main() {
        if CommandLine.arguments.contains("--list") {
            return FuzzTarget.allCases.forEach { print($0.rawValue) }
        }
        guard self.target != nil else { return print("FUZZ_TARGET names none of the targets of fuzz --list") }
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = runDriver(&count, &arguments) { bytes, count in
            do {
                try Fuzz.target?.run(UnsafeRawBufferPointer(start: bytes, count: count))
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
