// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// This is the package of the README's section "Add it to a package". It builds if a clone of the library is at this
// path.
let package = Package(
    name: "order-service",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(path: "../swift-qpid-proton")
    ],
    targets: [
        .executableTarget(
            name: "OrderService",
            dependencies: [.product(name: "QpidProton", package: "swift-qpid-proton")]
        )
    ]
)
