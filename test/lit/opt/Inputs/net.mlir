func.func @main(%image: tensor<?x32x32x3xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%image) {anas.name = "stem/conv", features = 32 : i64, kernel = array<i64: 3, 3>, use_bias = false} : (tensor<?x32x32x3xf32>) -> tensor<?x32x32x32xf32>
  %1 = call @stage0(%0) : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>
  %2 = call @stage1(%1) : (tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32>
  %3 = "anas.mean"(%2) {axes = array<i64: 1, 2>} : (tensor<?x8x8x128xf32>) -> tensor<?x128xf32>
  %4 = "anas.dense"(%3) {anas.name = "head/dense", features = 10 : i64} : (tensor<?x128xf32>) -> tensor<?x10xf32>
  return %4 : tensor<?x10xf32>
}
func.func private @stage0(%x: tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32> attributes {anas.block = "down"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, use_bias = false} : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  %2 = "anas.relu"(%1) : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>
  return %2 : tensor<?x16x16x64xf32>
}
func.func private @stage1(%x: tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32> attributes {anas.block = "down"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, use_bias = false} : (tensor<?x16x16x64xf32>) -> tensor<?x8x8x128xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x8x8x128xf32>) -> tensor<?x8x8x128xf32>
  %2 = "anas.relu"(%1) : (tensor<?x8x8x128xf32>) -> tensor<?x8x8x128xf32>
  return %2 : tensor<?x8x8x128xf32>
}
