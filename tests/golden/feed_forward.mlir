module {
  "snn.graph"() {version = 1 : i64, name = "main", dt = 0.001 : f64, record_offset = 0 : i64, source = "", digest = "", notes = []} : () -> ()
  %input = "snn.input"() {node = "input", signal = !snn.spikes<tensor<3xf32>>, metadata = []} : () -> !snn.spikes<tensor<3xf32>>
  %fc = "snn.linear"(%input) {node = "fc", weight = dense_resource<"fc.weight#9d8281f84006ffaa"> : tensor<4x3xf32>, bias = dense<[0.09765625, 0.13671875, 0.37890625, 0.57421875]> : tensor<4xf32>, unit = unit, bits = 0 : i64, zero = unit, metadata = []} : (!snn.spikes<tensor<3xf32>>) -> !snn.analog<tensor<4xf32>>
  %lif = "snn.lif"(%fc) {node = "lif", dynamics = {}, params = [["threshold", dense<1.0> : tensor<f32>], ["beta", dense<0.875> : tensor<f32>]], model = "lif", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<4xf32>>) -> !snn.spikes<tensor<4xf32>>
  "snn.output"(%lif) {name = "output"} : (!snn.spikes<tensor<4xf32>>) -> ()
}

{-#
  dialect_resources: {
    builtin: {
      "fc.weight#9d8281f84006ffaa": "0x400000000000f23e0000863e0000083e0000d8bd000090bd0000acbe00009abe0000b8be000050be0000e03e00008c3e0000093f"
    }
  }
#-}
