module {
  "snn.graph"() {version = 1 : i64, name = "main", dt = 0.001 : f64, record_offset = 0 : i64, source = "", digest = "", notes = []} : () -> ()
  %input = "snn.input"() {node = "input", signal = !snn.spikes<tensor<3xf32>>, metadata = []} : () -> !snn.spikes<tensor<3xf32>>
  %fc = "snn.linear"(%input) {node = "fc", weight = dense_resource<"fc.weight#9d8281f84006ffaa"> : tensor<4x3xf32>, bias = unit, unit = unit, bits = 0 : i64, zero = unit, metadata = []} : (!snn.spikes<tensor<3xf32>>) -> !snn.analog<tensor<4xf32>>
  %late = "snn.delay"(%lif) {node = "late", steps = 1 : i64, seconds = unit, metadata = []} : (!snn.spikes<tensor<4xf32>>) -> !snn.spikes<tensor<4xf32>>
  %rec = "snn.linear"(%late) {node = "rec", weight = dense_resource<"rec.weight#c307a1a6123bf6d6"> : tensor<4x4xf32>, bias = unit, unit = unit, bits = 0 : i64, zero = unit, metadata = []} : (!snn.spikes<tensor<4xf32>>) -> !snn.analog<tensor<4xf32>>
  %sum = "snn.add"(%fc, %rec) {node = "sum", metadata = []} : (!snn.analog<tensor<4xf32>>, !snn.analog<tensor<4xf32>>) -> !snn.analog<tensor<4xf32>>
  %lif = "snn.lif"(%sum) {node = "lif", dynamics = {}, params = [["threshold", dense<1.0> : tensor<f32>], ["beta", dense<0.875> : tensor<f32>]], model = "lif", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<4xf32>>) -> !snn.spikes<tensor<4xf32>>
  "snn.output"(%lif) {name = "output"} : (!snn.spikes<tensor<4xf32>>) -> ()
}

{-#
  dialect_resources: {
    builtin: {
      "fc.weight#9d8281f84006ffaa": "0x400000000000f23e0000863e0000083e0000d8bd000090bd0000acbe00009abe0000b8be000050be0000e03e00008c3e0000093f",
      "rec.weight#c307a1a6123bf6d6": "0x400000000000ec3e0000f0bd00008abe0000a0bd0000103d0000e03e0000983d000092be000030bd0000643e0000e03e0000b43e00001e3f000040be0000013f0000a4be"
    }
  }
#-}
