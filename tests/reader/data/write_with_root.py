"""Makes ``root_ntuple.root`` and ``root_tree.root`` with ROOT (6.36 or later, with PyROOT).

The first is an RNTuple of small clusters and pages with every way of storing numbers that ROOT has:
split, zigzag, delta and bit columns, half, truncated and quantised floats, nested lists, fixed
arrays, fields that were added in the middle. The second holds the same values, read back by ROOT,
in a TTree. Run it in the folder where the files shall be; tests do not run it.
"""

from __future__ import annotations

import ROOT

SOURCE = r"""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleReader.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/RVec.hxx>
#include <TFile.h>
#include <TTree.h>
#include <array>
#include <atomic>
#include <optional>
#include <random>
#include <string>

void write_ntuple(const char *path, int rows)
{
   auto model = ROOT::RNTupleModel::Create();
   auto run = model->MakeField<std::uint32_t>("run");
   auto lumi = model->MakeField<std::uint32_t>("luminosityBlock");
   auto event = model->MakeField<std::uint64_t>("event");
   auto i16 = model->MakeField<std::int16_t>("i16");
   auto i64 = model->MakeField<std::int64_t>("i64");
   auto c = model->MakeField<char>("c");
   auto b = model->MakeField<bool>("b");
   auto d = model->MakeField<double>("d");
   auto v = model->MakeField<ROOT::RVec<float>>("v");
   auto vb = model->MakeField<std::vector<bool>>("vb");
   auto vv = model->MakeField<std::vector<std::vector<std::int32_t>>>("vv");
   auto arr = model->MakeField<std::array<float, 3>>("arr");
   auto varr = model->MakeField<std::vector<std::array<double, 2>>>("varr");
   auto opt = model->MakeField<std::optional<float>>("opt");
   auto s = model->MakeField<std::string>("s");
   auto vp = model->MakeField<std::vector<std::pair<float, std::int32_t>>>("vp");
   auto at = model->MakeField<std::atomic<std::int32_t>>("at");
   auto add = [&](const char *name, auto set) {
      auto field = std::make_unique<ROOT::RField<float>>(name);
      set(*field);
      model->AddField(std::move(field));
   };
   add("tr", [](auto &f) { f.SetTruncated(20); });
   add("qu", [](auto &f) { f.SetQuantized(0., 1., 12); });
   add("hf", [](auto &f) { f.SetHalfPrecision(); });
   ROOT::RNTupleWriteOptions options;
   options.SetCompression(505);
   options.SetMaxUnzippedPageSize(256);
   options.SetInitialUnzippedPageSize(64);
   options.SetApproxZippedClusterSize(8000);
   options.SetMaxUnzippedClusterSize(20000);
   auto writer = ROOT::RNTupleWriter::Recreate(std::move(model), "Events", path, options);
   auto &entry = writer->GetModel().GetDefaultEntry();
   auto tr = entry.GetPtr<float>("tr"), qu = entry.GetPtr<float>("qu");
   auto hf = entry.GetPtr<float>("hf");
   std::shared_ptr<std::vector<float>> late;
   std::shared_ptr<std::int32_t> late_number;
   std::shared_ptr<std::array<float, 2>> late_array;
   std::mt19937 g(7);
   std::normal_distribution<float> normal;
   std::poisson_distribution<int> poisson(4);
   std::uniform_real_distribution<float> uniform(0, 1);
   for (int i = 0; i < rows; i++) {
      if (i == rows / 2) {
         auto updater = writer->CreateModelUpdater();
         updater->BeginUpdate();
         late = updater->MakeField<std::vector<float>>("late");
         late_number = updater->MakeField<std::int32_t>("lateNumber");
         late_array = updater->MakeField<std::array<float, 2>>("lateArray");
         updater->CommitUpdate();
      }
      *run = 1 + i / 100;
      *lumi = i / 10;
      *event = 1000000ull + i * 7;
      *i16 = (i * 37) % 60000 - 30000;
      *i64 = -static_cast<long>(i) * 1000000007l;
      *c = static_cast<char>(i % 256);
      *b = i % 3 == 0;
      *d = normal(g);
      v->clear(), vb->clear(), vv->clear(), varr->clear(), vp->clear();
      for (int j = poisson(g); j > 0; j--) {
         v->push_back(normal(g));
         vb->push_back(j % 2);
         varr->push_back({normal(g), normal(g)});
         vp->push_back({normal(g), i + j});
      }
      for (int j = poisson(g); j > 0; j--) {
         std::vector<std::int32_t> inner;
         for (int k = poisson(g) - 2; k > 0; k--)
            inner.push_back(i * 10 + k - 500);
         vv->push_back(inner);
      }
      *arr = {normal(g), normal(g), static_cast<float>(i)};
      *opt = i % 5 ? std::optional<float>(normal(g)) : std::nullopt;
      *s = "x" + std::to_string(i);
      *tr = normal(g), *qu = uniform(g), *hf = normal(g);
      at->store(i - 3);
      if (late) {
         late->assign(poisson(g), static_cast<float>(i));
         *late_number = i;
         *late_array = {static_cast<float>(i), -1.f};
      }
      writer->Fill();
   }
}

void write_tree(const char *from, const char *path)
{
   auto reader = ROOT::RNTupleReader::Open("Events", from);
   TFile file(path, "RECREATE");
   TTree tree("Events", "");
   std::vector<std::function<void(std::uint64_t)>> reads;
   auto number = [&](const char *name, const char *code, auto zero) {
      auto value = std::make_shared<decltype(zero)>();
      tree.Branch(name, value.get(), (std::string(name) + "/" + code).c_str());
      auto view = std::make_shared<ROOT::RNTupleView<decltype(zero)>>(
         reader->GetView<decltype(zero)>(name));
      reads.push_back([=](std::uint64_t i) { *value = (*view)(i); });
   };
   number("run", "i", std::uint32_t()), number("luminosityBlock", "i", std::uint32_t());
   number("event", "l", std::uint64_t()), number("i16", "S", std::int16_t());
   number("i64", "L", std::int64_t()), number("c", "B", char()), number("b", "O", bool());
   number("d", "D", double()), number("tr", "F", float()), number("qu", "F", float());
   number("hf", "F", float()), number("lateNumber", "I", std::int32_t());
   int at;
   float arr[3], late_array[2];
   std::vector<float> v, late, vp_first;
   std::vector<bool> vb;
   std::vector<int> vp_second, vv_counts, vv_items;
   std::vector<double> varr_0, varr_1;
   tree.Branch("at", &at, "at/I");
   tree.Branch("arr", arr, "arr[3]/F"), tree.Branch("lateArray", late_array, "lateArray[2]/F");
   tree.Branch("v", &v), tree.Branch("late", &late), tree.Branch("vb", &vb);
   tree.Branch("vp_first", &vp_first), tree.Branch("vp_second", &vp_second);
   tree.Branch("vv_counts", &vv_counts), tree.Branch("vv_items", &vv_items);
   tree.Branch("varr_0", &varr_0), tree.Branch("varr_1", &varr_1);
   auto of_at = reader->GetView<std::atomic<std::int32_t>>("at");
   auto of_arr = reader->GetView<std::array<float, 3>>("arr");
   auto of_late_array = reader->GetView<std::array<float, 2>>("lateArray");
   auto of_v = reader->GetView<ROOT::RVec<float>>("v");
   auto of_late = reader->GetView<std::vector<float>>("late");
   auto of_vb = reader->GetView<std::vector<bool>>("vb");
   auto of_vv = reader->GetView<std::vector<std::vector<std::int32_t>>>("vv");
   auto of_vp = reader->GetView<std::vector<std::pair<float, std::int32_t>>>("vp");
   auto of_varr = reader->GetView<std::vector<std::array<double, 2>>>("varr");
   for (auto i : reader->GetEntryRange()) {
      for (auto &read : reads)
         read(i);
      at = of_at(i).load();
      std::copy_n(of_arr(i).begin(), 3, arr);
      std::copy_n(of_late_array(i).begin(), 2, late_array);
      v.assign(of_v(i).begin(), of_v(i).end());
      late = of_late(i), vb = of_vb(i);
      vp_first.clear(), vp_second.clear(), vv_counts.clear(), vv_items.clear();
      varr_0.clear(), varr_1.clear();
      for (auto &pair : of_vp(i))
         vp_first.push_back(pair.first), vp_second.push_back(pair.second);
      for (auto &inner : of_vv(i)) {
         vv_counts.push_back(inner.size());
         vv_items.insert(vv_items.end(), inner.begin(), inner.end());
      }
      for (auto &two : of_varr(i))
         varr_0.push_back(two[0]), varr_1.push_back(two[1]);
      tree.Fill();
   }
   tree.Write();
}
"""

if not ROOT.gInterpreter.Declare(SOURCE):
    raise SystemExit("ROOT did not compile this")
ROOT.write_ntuple("root_ntuple.root", 300)
ROOT.write_tree("root_ntuple.root", "root_tree.root")
