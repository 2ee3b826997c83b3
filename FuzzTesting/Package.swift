// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// Built by ./dev/fuzz alone: it gives the flags for the sanitizers, and for @testable in a release build.
let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "swift-qpid-proton-fuzz-testing",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-qpid-proton", path: "..", traits: []),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
    ],
    targets: [
        .executableTarget(name: "fuzz", dependencies: ["FuzzEntries"], swiftSettings: swiftSettings),
        // Links to files of Tests/QpidProtonTests, whose tests run the same targets.
        .target(
            name: "FuzzEntries",
            dependencies: [
                "TestSupport",
                .product(name: "QpidProton", package: "swift-qpid-proton"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "TestSupport",
            dependencies: [
                .product(name: "QpidProton", package: "swift-qpid-proton"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swiftSettings
        ),
    ],
    swiftLanguageModes: [.v6]
)
